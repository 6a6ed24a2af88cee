//! `asyncflow`: the command that people type.
//!
//! | half | commands | may import |
//! |---|---|---|
//! | client | `run`, `task`, `workflow`, `gpu`, `top`, `hold`, `shard` … | sdk, proto |
//! | archive | `archive`, which asks no server | archive |
//! | programs | `dev`, `broker`, `worker`, `governor`, `config` | the programs' crates |
//!
//! Exit codes: 0 well, 1 error, 2 usage or configuration, 3 not found, 5 unreachable; `run` and
//! `task wait` pass the task's own on.

mod archive;
mod clock;
mod completions;
mod connection;
mod dev;
mod ending;
mod error;
mod explain;
mod filter;
mod fleet;
mod follow;
mod governor;
mod gpu;
mod hold;
mod operation;
mod output;
mod refusal;
mod resolve;
mod run;
mod schedule;
mod screen;
mod serve;
mod session;
mod shard;
mod size;
mod source_file;
mod style;
mod task;
mod task_type;
mod time;
mod top;
mod usage;
mod view;
mod waiting;
mod worker;
mod workflow;

use clap::{Parser, Subcommand};
use error::{CliError, Outcome};
use std::{io::Write, process::ExitCode};

/// asyncflow: durable tasks for shared servers
///
/// `asyncflow dev` starts everything in one process; then `asyncflow run -- CMD …` runs a command
/// as a task.
#[derive(Debug, Parser)]
#[command(name = "asyncflow", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 well, 1 error, 2 usage or configuration, 3 not found, \
                          5 unreachable; `run` and `task wait` pass the task's.";

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Args),
    Run(Box<run::Args>),
    Task(Box<task::Args>),
    Type(Box<task_type::Args>),
    Workflow(workflow::Args),
    Operation(operation::Args),
    Explain(explain::Args),
    Hold(Box<hold::Args>),
    Gpu(gpu::Args),
    Top(top::Args),
    Usage(usage::Args),
    Schedule(Box<schedule::Args>),
    Shard(shard::Args),
    Archive(archive::Args),
    /// Run a broker
    Broker(asyncflow_broker::Args),
    Worker(serve::WorkerArgs),
    Governor(serve::GovernorArgs),
    Config(serve::config::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    // First of all: a shim has to be small.
    asyncflow_worker::enter().unwrap_or_else(command)
}

fn command() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => client(run::execute(*args)),
        Command::Task(args) => client(task::execute(*args)),
        Command::Type(args) => client(task_type::execute(*args)),
        Command::Workflow(args) => client(workflow::execute(args)),
        Command::Operation(args) => client(operation::execute(args)),
        Command::Explain(args) => client(explain::execute(args)),
        Command::Hold(args) => client(hold::execute(*args)),
        Command::Gpu(args) => client(gpu::execute(args)),
        Command::Top(args) => client(top::execute(args)),
        Command::Usage(args) => client(usage::execute(args)),
        Command::Schedule(args) => client(schedule::execute(*args)),
        Command::Shard(args) => client(shard::execute(args)),
        Command::Archive(args) => client(archive::execute(args)),
        Command::Dev(args) => serve::program(dev::execute(args)),
        Command::Broker(args) => serve::broker(args),
        Command::Worker(args) => serve::worker(args),
        Command::Governor(args) => serve::governor(args),
        Command::Config(args) => finish(serve::config::execute(args)),
        Command::Completions(args) => finish(completions::execute(&args)),
    }
}

/// One thread is enough for a client and starts faster.
fn client(command: impl Future<Output = Outcome>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => finish(runtime.block_on(command)),
        Err(error) => finish(Err(CliError::Failed(format!("cannot start: {error}")))),
    }
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !error.is_silent() {
                complain(&error.to_string());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Says on stderr what went wrong.
fn complain(text: &str) {
    eprintln!("{} {text}", style::Palette::stderr().error("error:"));
}

/// Says on stdout what a person waits for; that nobody reads it is fine.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says something beside the answer, on stderr.
fn remark(text: &str) {
    eprintln!("{}", style::Palette::stderr().faint(&format!("asyncflow: {text}")));
}

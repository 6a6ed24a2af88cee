//! The programs `broker`, `worker` and `governor` as subcommands, and `config` about their
//! settings.
//!
//! This folder and `dev` are the only parts of the command that know the programs' crates.

pub mod config;

use crate::{client, governor, worker};
use std::process::ExitCode;

/// Run a worker, or look at those that registered and say what is wanted of them
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct WorkerArgs {
    #[command(subcommand)]
    verb: Option<WorkerVerb>,
    #[command(flatten)]
    program: asyncflow_worker::Args,
}

#[derive(Debug, clap::Subcommand)]
enum WorkerVerb {
    /// Run a worker on this host (the default)
    Run(asyncflow_worker::Args),
    List(worker::list::Args),
    Show(worker::show::Args),
    Cordon(worker::cordon::Args),
    Uncordon(worker::uncordon::Args),
    Drain(worker::drain::Args),
    Detach(worker::detach::Args),
}

/// Run a governor, or ask one that runs
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct GovernorArgs {
    #[command(subcommand)]
    verb: Option<GovernorVerb>,
    #[command(flatten)]
    program: asyncflow_governor::Args,
}

#[derive(Debug, clap::Subcommand)]
enum GovernorVerb {
    /// Run a governor (the default)
    Run(asyncflow_governor::Args),
    #[command(flatten)]
    Ask(governor::Verb),
}

/// The same as the program `asyncflow-broker`.
pub fn broker(args: asyncflow_broker::Args) -> ExitCode {
    program(asyncflow_broker::execute(args))
}

/// The same as the program `asyncflow-worker`, or a question to the broker.
pub fn worker(args: WorkerArgs) -> ExitCode {
    match args.verb {
        None => program(asyncflow_worker::execute(args.program)),
        Some(WorkerVerb::Run(args)) => program(asyncflow_worker::execute(args)),
        Some(WorkerVerb::List(args)) => client(worker::list::execute(args)),
        Some(WorkerVerb::Show(args)) => client(worker::show::execute(args)),
        Some(WorkerVerb::Cordon(args)) => client(worker::cordon::execute(args)),
        Some(WorkerVerb::Uncordon(args)) => client(worker::uncordon::execute(args)),
        Some(WorkerVerb::Drain(args)) => client(worker::drain::execute(args)),
        Some(WorkerVerb::Detach(args)) => client(worker::detach::execute(args)),
    }
}

/// The same as the program `asyncflow-governor`, or a question to one.
pub fn governor(args: GovernorArgs) -> ExitCode {
    match args.verb {
        None => program(asyncflow_governor::execute(args.program)),
        Some(GovernorVerb::Run(args)) => program(asyncflow_governor::execute(args)),
        Some(GovernorVerb::Ask(verb)) => client(governor::ask(verb)),
    }
}

/// Servers use all cores.
pub fn program(run: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run),
        Err(error) => {
            crate::complain(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

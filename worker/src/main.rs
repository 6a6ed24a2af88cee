//! The program `asyncflow-worker`; everything is in the library.

use std::process::ExitCode;

use clap::Parser;

/// Runs tasks on this host.
#[derive(Parser)]
#[command(name = "asyncflow-worker", version)]
struct Program {
    #[command(flatten)]
    args: asyncflow_worker::Args,
}

fn main() -> ExitCode {
    // A shim needs no runtime.
    asyncflow_worker::enter().unwrap_or_else(work)
}

#[tokio::main]
async fn work() -> ExitCode {
    asyncflow_worker::execute(Program::parse().args).await
}

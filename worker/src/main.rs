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

#[tokio::main]
async fn main() -> ExitCode {
    asyncflow_worker::execute(Program::parse().args).await
}

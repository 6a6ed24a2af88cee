//! The program `asyncflow-broker`; everything is in the library.

use std::process::ExitCode;

use clap::Parser;

/// Serves tasks to clients and workers.
#[derive(Parser)]
#[command(name = "asyncflow-broker", version)]
struct Program {
    #[command(flatten)]
    args: asyncflow_broker::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    asyncflow_broker::execute(Program::parse().args).await
}

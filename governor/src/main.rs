//! The governor process.

use asyncflow_governor::{Args, execute};
use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "asyncflow-governor", version, about)]
struct Program {
    #[command(flatten)]
    args: Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    execute(Program::parse().args).await
}

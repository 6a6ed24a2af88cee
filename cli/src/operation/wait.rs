//! `operation wait`

use super::follow::{ending, follow};
use crate::{
    connection::Broker,
    error::{CliError, Outcome},
    output::Output,
    time,
    view::operation::OperationView,
};
use prost_types::Duration;

/// Wait until an operation is over, and show how far it is
///
/// The exit code is 0 when it succeeded, 1 when it failed or the time is over, 130 when it was
/// cancelled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    operation: String,
    /// Give up after this span (exit code 1)
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    timeout: Option<Duration>,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let timeout = args.timeout.map(std::time::Duration::try_from).transpose();
    let timeout = timeout.map_err(|error| CliError::Usage(format!("--timeout: {error}")))?;
    let operation = follow(broker, &args.operation, timeout).await?;
    let code = ending(&operation);
    output.one(&OperationView::from(operation))?;
    Ok(code)
}

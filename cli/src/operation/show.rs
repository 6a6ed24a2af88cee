//! `operation show`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::operation::OperationView,
};

/// Show an operation
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    operation: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let operation = broker.client.operation(&args.operation).await;
    let operation = operation.map_err(|error| broker.explain(error))?;
    output.one(&OperationView::from(operation))?;
    Ok(exit::OK)
}

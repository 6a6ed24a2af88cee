//! `workflow retry`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::workflow::WorkflowView,
};

/// Run again what did not succeed of a workflow that is over, and keep the rest
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    workflow: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let workflow = broker.client.retry_workflow(&args.workflow).await;
    let workflow = workflow.map_err(|error| broker.explain(error))?;
    output.one(&WorkflowView::from(workflow))?;
    Ok(exit::OK)
}

//! `workflow signal`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    task::spec::DataArgs,
    view::workflow::WorkflowView,
};

/// Say to all tasks of a workflow that something has happened which they wait for, or will
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    workflow: String,
    /// The signal
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let content = args.data.content();
    let workflow = broker.client.signal_workflow(&args.workflow, &args.name, content).await;
    let workflow = workflow.map_err(|error| broker.explain(error))?;
    output.one(&WorkflowView::from(workflow))?;
    Ok(exit::OK)
}

//! `workflow signal`

use crate::{
    error::{Outcome, exit},
    session::Session,
    task::spec::DataArgs,
    view::workflow::WorkflowView,
};

/// Say to all tasks of a workflow that something has happened which they wait for, or will
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
    /// The signal
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let content = args.data.content();
    let workflow = session.broker.client.signal_workflow(&id, &args.name, content).await;
    let workflow = workflow.map_err(|error| session.broker.explain(error))?;
    session.output.one(&WorkflowView::from(workflow))?;
    Ok(exit::OK)
}

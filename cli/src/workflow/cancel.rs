//! `workflow cancel`

use crate::{
    error::{Outcome, exit},
    session::Session,
    view::workflow::WorkflowView,
};

/// Cancel a workflow: nothing more starts, what runs is stopped
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let workflow = session.broker.client.cancel_workflow(&id).await;
    let workflow = workflow.map_err(|error| session.broker.explain(error))?;
    session.output.one(&WorkflowView::from(workflow))?;
    Ok(exit::OK)
}

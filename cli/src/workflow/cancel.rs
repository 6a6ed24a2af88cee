//! `workflow cancel`

use crate::{
    error::{Outcome, exit},
    session::Session,
    view::workflow::WorkflowView,
};

/// Cancel a workflow: no more of its nodes start, what runs is stopped
///
/// What waits in the queue is cancelled page by page, and may start until then. Nodes that wait
/// for the end or the trouble of others still run: they clean up.
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

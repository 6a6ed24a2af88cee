//! `workflow show`

use super::NONE_IN_ANSWER;
use crate::{
    error::{CliError, Outcome, exit},
    screen::Screen,
    session::Session,
    view::{workflow::WorkflowView, workflow_graph::GraphView},
};

/// Show a workflow with its nodes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let answer = session.broker.client.workflow(&id).await;
    let answer = answer.map_err(|error| session.broker.explain(error))?;
    let none = || CliError::Failed(NONE_IN_ANSWER.to_owned());
    let workflow = WorkflowView::from(answer.workflow.ok_or_else(none)?);
    let graph = GraphView::new(workflow, answer.nodes);
    if !session.output.is_table() {
        session.output.one(&graph)?;
        return Ok(exit::OK);
    }
    session.output.one(graph.workflow())?;
    session.output.line("")?;
    let look = session.output.look();
    let columns = Screen::open().map(|screen| screen.size().1);
    let drawn = graph.drawn(look, columns).into_iter().flat_map(|node| node.lines);
    drawn.into_iter().try_for_each(|line| session.output.line(&line))?;
    Ok(exit::OK)
}

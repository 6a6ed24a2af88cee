//! `workflow show`

use super::NONE_IN_ANSWER;
use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    screen::Screen,
    view::{workflow::WorkflowView, workflow_graph::GraphView},
};

/// Show a workflow with its nodes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    workflow: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let answer = broker.client.workflow(&args.workflow).await;
    let answer = answer.map_err(|error| broker.explain(error))?;
    let none = || CliError::Failed(NONE_IN_ANSWER.to_owned());
    let workflow = WorkflowView::from(answer.workflow.ok_or_else(none)?);
    let graph = GraphView::new(workflow, answer.nodes);
    if !output.is_table() {
        output.one(&graph)?;
        return Ok(exit::OK);
    }
    output.one(graph.workflow())?;
    output.line("")?;
    let look = output.look();
    let columns = Screen::open().map(|screen| screen.size().1);
    let drawn = graph.drawn(look, columns).into_iter().flat_map(|node| node.lines);
    drawn.into_iter().try_for_each(|line| output.line(&line))?;
    Ok(exit::OK)
}

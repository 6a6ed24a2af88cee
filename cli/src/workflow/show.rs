//! `workflow show`

use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    view::workflow::{GraphView, WorkflowView},
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
    let none = || CliError::Failed("the broker's answer holds no workflow".to_owned());
    let workflow = WorkflowView::from(answer.workflow.ok_or_else(none)?);
    let graph = GraphView::new(workflow, answer.nodes);
    if !output.is_table() {
        output.one(&graph)?;
        return Ok(exit::OK);
    }
    output.one(graph.workflow())?;
    output.line("")?;
    let look = output.look();
    graph.lines(look).iter().try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

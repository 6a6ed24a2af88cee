//! `workflow items`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    filter::limit,
    output::Output,
    view::workflow_item::WorkflowItemView,
};
use futures::{StreamExt, TryStreamExt};

/// List the tasks of a workflow, and the workflows within it, that were started
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    workflow: String,
    /// Only those of this node
    #[arg(long, value_name = "NAME", default_value_t)]
    node: String,
    /// At most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let items = broker.client.workflow_items(&args.workflow, &args.node);
    let items = items.take(limit(args.limit)).map_ok(WorkflowItemView::from);
    let views: Result<Vec<WorkflowItemView>, _> = items.try_collect().await;
    output.many(&views.map_err(|error| broker.explain(error))?)?;
    Ok(exit::OK)
}

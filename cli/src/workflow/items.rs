//! `workflow items`

use crate::{
    error::{Outcome, exit},
    filter::limit,
    session::Session,
    view::workflow_item::WorkflowItemView,
};
use asyncflow_proto::v1::workflow_item::Item;
use futures::{StreamExt, TryStreamExt};

/// Workflows within it that are asked for at once.
const ASKED_AT_ONCE: usize = 8;

/// List the tasks of a workflow, and the workflows within it, that were started
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    workflow: String,
    /// Only those of this node
    #[arg(long, value_name = "NAME", default_value_t)]
    node: String,
    /// At most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let id = session.workflow(&args.workflow).await?;
    let client = &session.broker.client;
    let items = client.workflow_items(&id, &args.node).take(limit(args.limit));
    let views = items.map_ok(async |item| match &item.item {
        Some(Item::WorkflowId(id)) => {
            let answer = client.workflow(id).await;
            // One may have been removed meanwhile; its id is told all the same.
            let within = answer
                .map(|answer| answer.workflow)
                .or_else(|error| if error.is_not_found() { Ok(None) } else { Err(error) });
            within.map(|within| WorkflowItemView::of(item, within))
        }
        _ => Ok(WorkflowItemView::of(item, None)),
    });
    let views = views.try_buffered(ASKED_AT_ONCE);
    let views = views.map_err(|error| session.broker.explain(error));
    session.output.each(views, args.limit).await?;
    Ok(exit::OK)
}

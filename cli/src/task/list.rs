//! `task list`

use crate::{
    error::{Outcome, exit},
    filter::{CreatedArgs, FilterArgs, limit, page_size},
    session::Session,
    view::task::TaskView,
};
use asyncflow_proto::v1::{ListTasksRequest, TaskView as Detail};
use futures::{StreamExt, TryStreamExt};

/// List tasks, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    created: CreatedArgs,
    /// At most this many; 0 = all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// With payload, command, context and result (in JSON)
    #[arg(long)]
    full: bool,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let wanted = limit(args.limit);
    let view = if args.full { Detail::Full } else { Detail::Basic };
    let request = ListTasksRequest {
        page_size: page_size(wanted)?,
        filter: args.filter.text(&args.created),
        view: view.into(),
        ..ListTasksRequest::default()
    };
    let tasks = session.broker.client.list(request).take(wanted).map_ok(TaskView::from);
    let tasks = tasks.map_err(|error| session.broker.explain(error));
    session.output.each(tasks, args.limit).await?;
    Ok(exit::OK)
}

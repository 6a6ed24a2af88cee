//! `task watch`

use crate::{
    error::{CliError, Outcome, exit},
    filter::{CreatedArgs, FilterArgs},
    session::Session,
    view::task::TaskView,
};
use asyncflow_proto::v1::{Task, WatchTasksRequest};
use futures::TryStreamExt;
use std::pin::pin;

/// Print tasks as they are and at every change, one line each
///
/// With ids it ends when all of them have ended; with a filter, or without anything, it goes on
/// until it is interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids, unique prefixes of ids, or `last`
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    if !args.tasks.is_empty() && !args.filter.is_empty() {
        return Err(CliError::Usage("give either tasks or a filter, not both".to_owned()));
    }
    let task_ids = session.lookup.tasks(&session.broker, &args.tasks).await?;
    let request = WatchTasksRequest {
        until_done: !task_ids.is_empty(),
        task_ids,
        filter: args.filter.text(&CreatedArgs::default()),
        ..WatchTasksRequest::default()
    };
    let broker = session.broker.patient(crate::remark);
    let mut changes = pin!(broker.client.watch(request));
    loop {
        let change = changes.try_next().await.map_err(|error| broker.explain(error))?;
        let Some(change) = change else { return Ok(exit::OK) };
        if let Some(task) = change.task {
            print(session, task)?;
        } else if session.output.is_table() {
            session.output.line(&format!("{}  deleted", change.deleted_task_id))?;
        }
    }
}

fn print(session: &Session, task: Task) -> Result<(), CliError> {
    let view = TaskView::from(task);
    session.output.next(&view, || view.line(session.output.look()))
}

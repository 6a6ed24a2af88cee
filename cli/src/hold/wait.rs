//! Waiting for a hold's turn, with the reason why it still waits.

use crate::{connection::Broker, error::CliError, view::task::state_name, waiting};
use asyncflow_proto::v1::{Task, TaskState, WatchTasksRequest};
use asyncflow_sdk::is_terminal;
use futures::TryStreamExt;
use std::{pin::pin, time::Duration};

/// How often it is asked why the task still waits.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// Gives the task as soon as it runs. Cancel safe.
///
/// # Errors
/// [`CliError::Failed`] when it ends before it has run.
pub async fn until_running(broker: &Broker, task: Task) -> Result<Task, CliError> {
    let id = task.id.clone();
    let broker = &broker.patient(crate::remark);
    let mut states = pin!(broker.client.watch(WatchTasksRequest {
        task_ids: vec![id.clone()],
        until_done: true,
        ..WatchTasksRequest::default()
    }));
    let mut asking = tokio::time::interval(ASK_INTERVAL);
    // The first tick is at once, before it can have got its turn.
    asking.tick().await;
    let (mut task, mut told) = (task, String::new());
    loop {
        if task.state() == TaskState::Running && task.start_time.is_some() {
            return Ok(task);
        }
        if is_terminal(task.state()) {
            return Err(CliError::Failed(ended(&task)));
        }
        tokio::select! {
            change = states.try_next() => {
                let change = change.map_err(|error| broker.explain(error))?;
                let changed = change.and_then(|change| change.task);
                task = changed.ok_or_else(|| CliError::NotFound(format!("{id} was deleted")))?;
            }
            _ = asking.tick() => {
                let why = waiting::why(broker, &task).await.unwrap_or_default();
                if !why.is_empty() && why != told {
                    crate::remark(&why);
                    told = why;
                }
            }
        }
    }
}

fn ended(task: &Task) -> String {
    let message = task.failure.as_ref().map(|it| it.message.as_str()).unwrap_or_default();
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{} has ended before anything could be held: {}{why}", task.id, state_name(task.state))
}

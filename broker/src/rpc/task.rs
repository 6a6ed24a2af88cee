//! Verbs on tasks, for their owners.

pub mod batch_create_tasks;
pub mod cancel_task;
pub mod count_tasks;
pub mod create_task;
pub mod delete_task;
pub mod get_task;
pub mod list_attempts;
pub mod list_tasks;
pub mod pause_task;
pub mod resume_task;
pub mod retry_task;
pub mod signal_task;
pub mod stream_create_tasks;
pub mod stream_task_logs;
pub mod update_task;
pub mod wait_task;
pub mod watch_tasks;

use asyncflow_core::{
    access::{Principal, Verb, permit},
    event::Event,
    id::TaskId,
    task::{FullTask, Labels, Task},
};
use asyncflow_proto::v1;
use asyncflow_store::{GetError, Parts};

use super::task_id;
use crate::{broker::Broker, convert, error::RpcError, principal::permit_user};

/// Reads a task that must be there.
pub(crate) async fn get(broker: &Broker, id: &TaskId, parts: Parts) -> Result<FullTask, RpcError> {
    broker.store.get(id, parts).await.map_err(|error| missing(id, error))
}

/// Why there is no task to show, as the caller is told.
fn missing(id: &TaskId, error: GetError) -> RpcError {
    match error {
        GetError::NotFound => RpcError::TaskNotFound(id.clone()),
        GetError::Expired { archive } => RpcError::Expired { id: id.clone(), archive },
        GetError::Store(error) => RpcError::Store(error),
    }
}

/// Refuses a caller who may change no tasks but its own, if this is another's.
async fn permit_change(broker: &Broker, caller: &Principal, id: &TaskId) -> Result<(), RpcError> {
    if permit(caller, Verb::ActForOthers).is_ok() {
        return Ok(());
    }
    permit_user(caller, &get(broker, id, Parts::NONE).await?.task.user)
}

/// An owner's verb on one task: applies `event` and answers the task after it.
async fn change(
    broker: &Broker,
    caller: &Principal,
    id: &str,
    event: Event,
) -> Result<v1::Task, RpcError> {
    let id = task_id(id, "task_id")?;
    permit_change(broker, caller, &id).await?;
    let task = broker.settle.apply_one(id, event).await?;
    Ok(changed(broker, task).await)
}

/// A task that was just changed, with its labels, which a change does not read. The change stands,
/// so an answer without them is better than none.
async fn changed(broker: &Broker, task: Task) -> v1::Task {
    let labels = match get(broker, &task.id, Parts::LABELS).await {
        Ok(full) => full.body.labels,
        Err(error) => {
            tracing::warn!(%error, task_id = %task.id, "answering a task without its labels");
            Labels::default()
        }
    };
    v1::Task { labels: labels.into_iter().collect(), ..convert::task::basic(task) }
}

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
pub mod stream_task_logs;
pub mod update_task;
pub mod wait_task;
pub mod watch_tasks;

use asyncflow_core::{
    event::Event,
    id::TaskId,
    task::{FullTask, Task},
};
use asyncflow_proto::v1;
use asyncflow_store::{GetError, Parts};

use super::task_id;
use crate::{broker::Broker, convert, error::RpcError};

/// Reads a task that must be there.
async fn get(broker: &Broker, id: &TaskId, parts: Parts) -> Result<FullTask, RpcError> {
    broker.store.get(id, parts).await.map_err(|error| missing(id, error))
}

/// Why there is no task to show, as the caller is told.
fn missing(id: &TaskId, error: GetError) -> RpcError {
    match error {
        GetError::NotFound => RpcError::TaskNotFound(id.clone()),
        GetError::Expired => RpcError::Expired(id.clone()),
        GetError::Store(error) => RpcError::Store(error),
    }
}

/// An owner's verb on one task: applies `event` and answers the task after it.
async fn change(broker: &Broker, id: &str, event: Event) -> Result<v1::Task, RpcError> {
    let task: Task = broker.settle.apply_one(task_id(id, "task_id")?, event).await?;
    Ok(convert::task::basic(task))
}

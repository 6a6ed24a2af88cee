//! GetTask: one table, hot or cold.

use asyncflow_proto::v1;
use asyncflow_store::Parts;

use super::{get, task_id};
use crate::{broker::Broker, convert, error::RpcError};

/// Things that a task waits for which are told.
const WAITS_MAX: u32 = 200;

pub async fn get_task(
    broker: &Broker,
    request: v1::GetTaskRequest,
) -> Result<v1::GetTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    let full = v1::TaskView::Full;
    let is_full = convert::task::view(request.view, full) == full;
    let parts = if is_full { Parts::ALL } else { Parts::LABELS };
    let found = get(broker, &id, parts).await?;
    if !is_full {
        let task = convert::task::in_view(found, request.view, full);
        return Ok(v1::GetTaskResponse { task: Some(task) });
    }
    let signals = broker.store.signals_of(&found.task).await?;
    let waits_for = match found.task.is_blocked() {
        true => broker.store.waits_of(&id, WAITS_MAX).await?,
        false => Vec::new(),
    };
    let signals = convert::task::signals(signals);
    let (other, is_twin) = (broker.store.twin_of(&found.task).await?, found.task.ties.twin);
    let twin = other.map(|other| v1::Twin { task_id: other.to_string(), is_twin });
    let task = v1::Task { signals, waits_for, twin, ..convert::task::full(found) };
    Ok(v1::GetTaskResponse { task: Some(task) })
}

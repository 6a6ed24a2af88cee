//! GetTask: one table, hot or cold.

use asyncflow_proto::v1;
use asyncflow_store::Parts;

use super::{get, task_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn get_task(
    broker: &Broker,
    request: v1::GetTaskRequest,
) -> Result<v1::GetTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    let full = v1::TaskView::Full;
    let is_full = convert::task::view(request.view, full) == full;
    let parts = if is_full { Parts::ALL } else { Parts::LABELS };
    let task = convert::task::in_view(get(broker, &id, parts).await?, request.view, full);
    Ok(v1::GetTaskResponse { task: Some(task) })
}

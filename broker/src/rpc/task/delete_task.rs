//! DeleteTask: the task with its history and logs; never one that runs.

use asyncflow_proto::v1;

use super::task_id;
use crate::{broker::Broker, error::RpcError, settle::refused};

pub async fn delete_task(
    broker: &Broker,
    request: v1::DeleteTaskRequest,
) -> Result<v1::DeleteTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    broker.store.delete(&id).await.map_err(|error| refused(&id, error))?;
    Ok(v1::DeleteTaskResponse {})
}

//! DeleteTask: the task with its history and logs; never one that runs.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;

use super::{permit_change, task_id};
use crate::{broker::Broker, error::RpcError, settle::refused};

pub async fn delete_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::DeleteTaskRequest,
) -> Result<v1::DeleteTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    permit_change(broker, caller, &id).await?;
    broker.store.delete(&id).await.map_err(|error| refused(&id, error))?;
    Ok(v1::DeleteTaskResponse {})
}

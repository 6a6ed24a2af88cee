//! ExplainTask: why a task is where it is.

use asyncflow_proto::v1;
use asyncflow_store::Parts;

use crate::{
    broker::Broker,
    convert,
    error::RpcError,
    rpc::{task, task_id},
};

pub async fn explain_task(
    broker: &Broker,
    request: v1::ExplainTaskRequest,
) -> Result<v1::ExplainTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    let full = task::get(broker, &id, Parts::LABELS).await?;
    let summary = format!("it is {}", full.task.state.name());
    let task = Some(convert::task::listed(full));
    Ok(v1::ExplainTaskResponse { summary, task, ..v1::ExplainTaskResponse::default() })
}

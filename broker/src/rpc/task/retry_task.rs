//! RetryTask: a new run of a terminal task.

use asyncflow_core::{access::Principal, event::Event};
use asyncflow_proto::v1;

use super::change;
use crate::{broker::Broker, error::RpcError};

pub async fn retry_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::RetryTaskRequest,
) -> Result<v1::RetryTaskResponse, RpcError> {
    let event = Event::retry(request.from_start);
    let task = change(broker, caller, &request.task_id, event).await?;
    Ok(v1::RetryTaskResponse { task: Some(task) })
}

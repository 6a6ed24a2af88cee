//! ResumeTask: puts a paused task back where it was.

use asyncflow_core::{access::Principal, event::Event};
use asyncflow_proto::v1;

use super::change;
use crate::{broker::Broker, error::RpcError};

pub async fn resume_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::ResumeTaskRequest,
) -> Result<v1::ResumeTaskResponse, RpcError> {
    let task = change(broker, caller, &request.task_id, Event::Resume).await?;
    Ok(v1::ResumeTaskResponse { task: Some(task) })
}

//! CancelTask: a waiting task at once, a running one by its worker, which is told at once.

use asyncflow_core::{
    access::Principal,
    event::Event,
    limits::MESSAGE_BYTES_MAX,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{changed, permit_change};
use crate::{broker::Broker, error::RpcError};

pub async fn cancel_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::CancelTaskRequest,
) -> Result<v1::CancelTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let id = text::task_id(&request.task_id, at.field("task_id"), &mut violations);
    text::prose(&request.reason, MESSAGE_BYTES_MAX, at.field("reason"), &mut violations);
    let id = violations.ok_or(id)?;
    permit_change(broker, caller, &id).await?;
    let task = broker.settle.apply_one(id, Event::Cancel { message: request.reason }).await?;
    Ok(v1::CancelTaskResponse { task: Some(changed(broker, task).await) })
}

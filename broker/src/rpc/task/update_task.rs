//! UpdateTask: the fields in the mask, never the state.

use asyncflow_core::{
    access::Principal,
    event::Event,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{changed, permit_change};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn update_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::UpdateTaskRequest,
) -> Result<v1::UpdateTaskResponse, RpcError> {
    let now_ms = broker.store.now_ms().await?;
    let mut violations = Violations::new();
    let id = text::task_id(&request.task_id, At::REQUEST.field("task_id"), &mut violations);
    let patch = convert::patch::task_patch(request, now_ms);
    let patch = violations.clone().joined(patch)?;
    let id = violations.ok_or(id)?;
    permit_change(broker, caller, &id).await?;
    let task = broker.settle.apply_one(id, Event::Update(patch)).await?;
    Ok(v1::UpdateTaskResponse { task: Some(changed(broker, task).await) })
}

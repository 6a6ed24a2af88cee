//! SaveContext: stage, context and version change together, under the lease.

use asyncflow_core::{
    event::Event,
    validate::{at::At, work},
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn save_context(
    broker: &Broker,
    request: v1::SaveContextRequest,
) -> Result<v1::SaveContextResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("lease");
    let lease = convert::work::lease(request.lease.as_ref(), at, &mut violations);
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;

    let task_type = broker.store.get_type(lease.id.task_type()).await?;
    let Some(task_type) = task_type else { return Err(RpcError::TaskNotFound(lease.id)) };
    let context = request.context.map(convert::task::content_from_proto);
    work::saved_context(request.stage.as_deref(), context.as_ref(), task_type.max_context_bytes)?;

    let event = Event::SaveContext {
        fence: session.fence(lease.attempt),
        stage: request.stage,
        context,
        expected_version: request.expected_version,
    };
    let task = broker.settle.apply_one(lease.id, event).await?;
    Ok(v1::SaveContextResponse { context_version: task.context_version })
}

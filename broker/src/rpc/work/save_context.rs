//! SaveContext: stage, context and version change together, under the lease.

use asyncflow_core::{
    event::Event,
    id::TaskId,
    task::Content,
    transition::Refusal,
    validate::{at::At, work},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

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

    let wanted = Save { stage: request.stage, context };
    let event = Event::SaveContext {
        fence: session.fence(lease.attempt),
        stage: wanted.stage.clone(),
        context: wanted.context.clone(),
        expected_version: request.expected_version,
    };
    let context_version = match broker.settle.apply_one(lease.id.clone(), event).await {
        Ok(task) => task.context_version,
        // Its first answer may have been lost.
        Err(RpcError::Refused(Refusal::ContextVersion { current }))
            if request.expected_version.and_then(|version| version.checked_add(1))
                == Some(current)
                && wanted.is_saved(broker, &lease.id, current).await? =>
        {
            current
        }
        Err(error) => return Err(error),
    };
    Ok(v1::SaveContextResponse { context_version })
}

/// What is to be saved; what is `None` stays as it is.
struct Save {
    stage: Option<String>,
    context: Option<Content>,
}

impl Save {
    /// Whether it is what this version of the context holds.
    async fn is_saved(&self, broker: &Broker, id: &TaskId, version: i64) -> Result<bool, RpcError> {
        let parts = Parts { context: true, ..Parts::NONE };
        let found = broker.store.get_many(std::slice::from_ref(id), parts).await?;
        let Some(saved) = found.into_iter().flatten().next() else { return Ok(false) };
        let is_stage = self.stage.as_ref().is_none_or(|stage| *stage == saved.task.stage);
        let is_context = self.context.as_ref().is_none_or(|saving| *saving == saved.body.context);
        Ok(saved.task.context_version == version && is_stage && is_context)
    }
}

//! SignalTask: something that a task waits for, or will, has happened.

use asyncflow_core::{
    access::Principal,
    limits::{SIGNAL_NAME_BYTES_MAX, SIGNALS_BYTES_MAX},
    task::Content,
    validate::{at::At, content, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::SignalError;

use super::{changed, task_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn signal_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::SignalTaskRequest,
) -> Result<v1::SignalTaskResponse, RpcError> {
    let content = checked(&request.name, request.content)?;
    let id = task_id(&request.task_id, "task_id")?;
    let sent = broker.store.signal_task(&id, (&request.name, &content), &caller.user).await;
    let (task, made) = sent.map_err(|error| match error {
        SignalError::NotFound => RpcError::TaskNotFound(id),
        SignalError::Expired { archive } => RpcError::Expired { id, archive },
        error => not_signalled(error),
    })?;
    broker.dispatch.note(made.iter());
    Ok(v1::SignalTaskResponse { task: Some(changed(broker, task).await) })
}

/// The content of a signal.
pub fn checked(name: &str, content: Option<v1::Content>) -> Result<Content, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    text::token(name, SIGNAL_NAME_BYTES_MAX, at.field("name"), &mut violations);
    let content = convert::task::content_from_proto(content.unwrap_or_default());
    content::content(&content, SIGNALS_BYTES_MAX, at.field("content"), &mut violations);
    violations.none()?;
    Ok(content)
}

/// Why a signal was not taken, as the caller is told.
pub fn not_signalled(error: SignalError) -> RpcError {
    match error {
        SignalError::Store(error) => RpcError::Store(error),
        error => RpcError::NotSignalled(error),
    }
}

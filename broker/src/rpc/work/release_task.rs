//! ReleaseTask: gives a task back without a failure.

use asyncflow_core::{
    event::Settle,
    reason::FailureReason,
    validate::{at::At, work},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{failure, settle};
use crate::{
    broker::Broker,
    convert::{self, time},
    error::RpcError,
};

pub async fn release_task(
    broker: &Broker,
    request: v1::ReleaseTaskRequest,
) -> Result<v1::ReleaseTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let lease = convert::work::lease(request.lease.as_ref(), at.field("lease"), &mut violations);
    let delay_ms = time::duration_ms(request.delay.as_ref(), at.field("delay"), &mut violations);
    work::delay(delay_ms, "delay", &mut violations);
    let (reason, message) = failure(request.failure, FailureReason::Drained, &mut violations);
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;

    let ending = Settle::Release { reason, message, delay_ms: delay_ms.unwrap_or(0) };
    let state = settle(broker, &session, lease, ending, request.exit_code).await?;
    Ok(v1::ReleaseTaskResponse { state })
}

//! ReleaseTask: gives a task back without a failure.

use asyncflow_core::{
    event::Settle,
    reason::FailureReason,
    validate::{at::At, work},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{Ending, failure, settle};
use crate::{
    broker::Broker,
    convert::{self, time},
    error::RpcError,
};

pub async fn release_task(
    broker: &Broker,
    mut request: v1::ReleaseTaskRequest,
) -> Result<v1::ReleaseTaskResponse, RpcError> {
    let session_id = std::mem::take(&mut request.session_id);
    let mut violations = Violations::new();
    let ending = ending(request, At::REQUEST, &mut violations);
    let state = settle(broker, &session_id, violations.ok_or(ending)?).await?;
    Ok(v1::ReleaseTaskResponse { state })
}

/// Checks the call, which stands at `at`.
pub fn ending(
    call: v1::ReleaseTaskRequest,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Ending> {
    let lease = convert::work::lease(call.lease.as_ref(), at.field("lease"), violations);
    let delay_at = at.field("delay");
    let delay_ms = time::duration_ms(call.delay.as_ref(), delay_at, violations);
    work::delay(delay_ms, delay_at, violations);
    let at = at.field("failure");
    let (reason, message) = failure(call.failure, FailureReason::Drained, at, violations);
    let settle = Settle::Release { reason, message, delay_ms: delay_ms.unwrap_or(0) };
    Some(Ending { lease: lease?, settle, exit_code: call.exit_code })
}

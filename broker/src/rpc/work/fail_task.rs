//! FailTask: the attempt ended badly, or a cancel is confirmed.

use asyncflow_core::{
    event::{RetryHint, Settle},
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

pub async fn fail_task(
    broker: &Broker,
    mut request: v1::FailTaskRequest,
) -> Result<v1::FailTaskResponse, RpcError> {
    let session_id = std::mem::take(&mut request.session_id);
    let mut violations = Violations::new();
    let ending = ending(request, At::REQUEST, &mut violations);
    let state = settle(broker, &session_id, violations.ok_or(ending)?).await?;
    Ok(v1::FailTaskResponse { state })
}

/// Checks the call, which stands at `at`.
pub fn ending(
    call: v1::FailTaskRequest,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Ending> {
    let lease = convert::work::lease(call.lease.as_ref(), at.field("lease"), violations);
    let usage = convert::usage::of_attempt(call.usage);
    let after_at = at.field("retry_after");
    let after_ms = time::duration_ms(call.retry_after.as_ref(), after_at, violations);
    work::delay(after_ms, after_at, violations);
    let at = at.field("failure");
    let (reason, message) = failure(call.failure, FailureReason::Error, at, violations);
    let hint = match after_ms {
        _ if call.permanent => RetryHint::Never,
        Some(after_ms) => RetryHint::AfterMs(after_ms),
        None => RetryHint::ByPolicy,
    };
    let settle = Settle::Fail { reason, message, hint };
    Some(Ending::new(lease?, settle, call.exit_code, usage))
}

//! FailTask: the attempt ended badly, or a cancel is confirmed.

use asyncflow_core::{
    event::{RetryHint, Settle},
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

pub async fn fail_task(
    broker: &Broker,
    request: v1::FailTaskRequest,
) -> Result<v1::FailTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let lease = convert::work::lease(request.lease.as_ref(), at.field("lease"), &mut violations);
    let after = request.retry_after.as_ref();
    let after_ms = time::duration_ms(after, at.field("retry_after"), &mut violations);
    work::delay(after_ms, "retry_after", &mut violations);
    let (reason, message) = failure(request.failure, FailureReason::Error, &mut violations);
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;

    let hint = match after_ms {
        _ if request.permanent => RetryHint::Never,
        Some(after_ms) => RetryHint::AfterMs(after_ms),
        None => RetryHint::ByPolicy,
    };
    let ending = Settle::Fail { reason, message, hint };
    let state = settle(broker, &session, lease, ending, request.exit_code).await?;
    Ok(v1::FailTaskResponse { state })
}

//! CompleteTask: the attempt ended well. A result over its limit fails it, once and for good.

use asyncflow_core::{
    event::{RetryHint, Settle},
    limits::{CONTENT_TYPE_BYTES_MAX, RESULT_BYTES_MAX},
    reason::FailureReason,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{Ending, settle};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn complete_task(
    broker: &Broker,
    mut request: v1::CompleteTaskRequest,
) -> Result<v1::CompleteTaskResponse, RpcError> {
    let session_id = std::mem::take(&mut request.session_id);
    let mut violations = Violations::new();
    let ending = ending(request, At::REQUEST, &mut violations);
    let state = settle(broker, &session_id, violations.ok_or(ending)?).await?;
    Ok(v1::CompleteTaskResponse { state })
}

/// Checks the call, which stands at `at`.
pub fn ending(
    call: v1::CompleteTaskRequest,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Ending> {
    let lease = convert::work::lease(call.lease.as_ref(), at.field("lease"), violations);
    let usage = convert::usage::of_attempt(call.usage);
    let result = call.result.map(convert::task::content_from_proto);
    if let Some(result) = &result {
        let at = at.field("result");
        let media_type = at.field("content_type");
        text::line(&result.content_type, CONTENT_TYPE_BYTES_MAX, media_type, violations);
    }
    let bytes = result.as_ref().map_or(0, |result| result.data.len());
    let settle = if bytes > RESULT_BYTES_MAX {
        Settle::Fail {
            reason: FailureReason::ResultTooLarge,
            message: format!("the result has {bytes} bytes; at most {RESULT_BYTES_MAX}"),
            hint: RetryHint::Never,
        }
    } else {
        Settle::complete(result)
    };
    Some(Ending::new(lease?, settle, call.exit_code, usage))
}

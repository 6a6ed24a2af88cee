//! CompleteTask: the attempt ended well. A result over its limit fails it, once and for good.

use asyncflow_core::{
    event::{RetryHint, Settle},
    limits::{CONTENT_TYPE_BYTES_MAX, RESULT_BYTES_MAX},
    reason::FailureReason,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::settle;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn complete_task(
    broker: &Broker,
    request: v1::CompleteTaskRequest,
) -> Result<v1::CompleteTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let lease = convert::work::lease(request.lease.as_ref(), at.field("lease"), &mut violations);
    let result = request.result.map(convert::task::content_from_proto);
    if let Some(result) = &result {
        let at = at.field("result");
        let media_type = at.field("content_type");
        text::line(&result.content_type, CONTENT_TYPE_BYTES_MAX, media_type, &mut violations);
    }
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;

    let bytes = result.as_ref().map_or(0, |result| result.data.len());
    let ending = if bytes > RESULT_BYTES_MAX {
        Settle::Fail {
            reason: FailureReason::ResultTooLarge,
            message: format!("the result has {bytes} bytes; at most {RESULT_BYTES_MAX}"),
            hint: RetryHint::Never,
        }
    } else {
        Settle::Complete { result }
    };
    let state = settle(broker, &session, lease, ending, request.exit_code).await?;
    Ok(v1::CompleteTaskResponse { state })
}

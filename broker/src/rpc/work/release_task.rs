//! ReleaseTask: gives a task back without a failure.

use asyncflow_core::{
    event::{HandOver, Settle, Until},
    limits::{CONTENT_TYPE_BYTES_MAX, MESSAGE_BYTES_MAX},
    reason::FailureReason,
    task::Failure,
    validate::{at::At, new_task::signal_names, text, work},
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
    let ending = violations.ok_or(ending)?.within_limits(broker).await?;
    let state = settle(broker, &session_id, ending).await?;
    Ok(v1::ReleaseTaskResponse { state })
}

/// Checks the call, which stands at `at`.
pub fn ending(
    call: v1::ReleaseTaskRequest,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Ending> {
    let lease = convert::work::lease(call.lease.as_ref(), at.field("lease"), violations);
    let usage = convert::usage::of_attempt(call.usage);
    let delay_at = at.field("delay");
    let delay_ms = time::duration_ms(call.delay.as_ref(), delay_at, violations);
    work::delay(delay_ms, delay_at, violations);
    let failure_at = at.field("failure");
    if let Some(wait_for) = call.wait_for {
        let at = at.field("wait_for");
        if call.delay.is_some() {
            violations.add(at, "must not be given together with delay");
        }
        if call.context.is_some() || call.elsewhere {
            violations.add(at, "must not be given together with context or elsewhere");
        }
        let or_fail = call.failure.is_some().then(|| {
            let (reason, message) =
                failure(call.failure, FailureReason::Error, failure_at, violations);
            Failure { reason, message }
        });
        let settle = wait(wait_for, or_fail, at, violations);
        return Some(Ending::new(lease?, settle, call.exit_code, usage));
    }
    let (reason, message) = failure(call.failure, FailureReason::Drained, failure_at, violations);
    let context = call.context.map(convert::task::content_from_proto);
    if let Some(context) = &context {
        let at = at.field("context");
        let media_type = at.field("content_type");
        text::line(&context.content_type, CONTENT_TYPE_BYTES_MAX, media_type, violations);
    }
    let hand_over = HandOver { context, avoid_host: None };
    let delay_ms = delay_ms.unwrap_or(0);
    let settle = Settle::Release { reason, message, delay_ms, hand_over };
    Some(Ending { elsewhere: call.elsewhere, ..Ending::new(lease?, settle, call.exit_code, usage) })
}

fn wait(
    wait_for: v1::WaitFor,
    or_fail: Option<Failure>,
    at: At<'_>,
    violations: &mut Violations,
) -> Settle {
    let v1::WaitFor { children, signals } = wait_for;
    if !children && signals.is_empty() {
        violations.add(at, "must name something to wait for");
    }
    signal_names(&signals, at.field("signals"), violations);
    let mut things: Vec<&str> = if children { vec!["its children"] } else { Vec::new() };
    things.extend(signals.iter().map(String::as_str));
    let message = text::cut(&format!("it waits for {}", things.join(", ")), MESSAGE_BYTES_MAX);
    // Whether it is there already is found out where it is recorded.
    Settle::Wait { until: Until { children, signals }, message, is_pending: true, or_fail }
}

//! What a client asks for when it creates a task.

use asyncflow_core::{
    retry::RetryPatch,
    validate::{at::At, new_task::NewTaskInput},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{command, task, time};

/// Turns a CreateTaskRequest, which stands at `at`, into what the domain checks. `caller` is the
/// user when the request names none, `trace_id` that of the call.
pub fn input(
    request: v1::CreateTaskRequest,
    caller: &str,
    trace_id: &str,
    at: At<'_>,
    violations: &mut Violations,
) -> NewTaskInput {
    let at = at.field("task");
    let Some(spec) = request.task else {
        violations.add(at, "must be given");
        return NewTaskInput { user: caller.to_owned(), ..NewTaskInput::default() };
    };
    let max_running = at.field("max_running_time");
    let not_before = at.field("not_before");
    NewTaskInput {
        retry: retry(spec.retry.as_ref(), at.field("retry"), violations),
        max_running_ms: time::duration_ms(spec.max_running_time.as_ref(), max_running, violations),
        not_before_ms: time::timestamp_ms(spec.not_before.as_ref(), not_before, violations),
        user: if spec.user.is_empty() { caller.to_owned() } else { spec.user },
        task_type: spec.task_type,
        name: spec.name,
        priority: spec.priority,
        labels: spec.labels,
        payload: task::content_from_proto(spec.payload.unwrap_or_default()),
        command: spec.command.map(command::from_proto),
        context: task::content_from_proto(spec.context.unwrap_or_default()),
        request_id: Some(request.request_id).filter(|id| !id.is_empty()),
        trace_id: trace_id.to_owned(),
    }
}

/// A retry policy of which each field may be left out.
pub fn retry(
    retry: Option<&v1::OptionalRetryPolicy>,
    at: At<'_>,
    violations: &mut Violations,
) -> RetryPatch {
    let Some(retry) = retry else { return RetryPatch::default() };
    let interval = at.field("interval");
    let max_interval = at.field("max_interval");
    RetryPatch {
        max_retries: retry.max_retries,
        interval_ms: time::duration_ms(retry.interval.as_ref(), interval, violations),
        max_interval_ms: time::duration_ms(retry.max_interval.as_ref(), max_interval, violations),
    }
}

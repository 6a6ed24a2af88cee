//! UpdateTask: a spec reduced to the fields in its mask.

use asyncflow_core::{
    event::TaskPatch,
    validate::{
        at::At,
        patch::{self, TASK_PATHS, TaskPatchInput},
    },
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{new_task, time};

/// Checks an UpdateTaskRequest.
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn task_patch(request: v1::UpdateTaskRequest, now_ms: i64) -> Result<TaskPatch, Violations> {
    let mut violations = Violations::new();
    let paths = request.update_mask.unwrap_or_default().paths;
    patch::mask(paths.iter().map(String::as_str), &TASK_PATHS, &mut violations);
    let spec = request.task.unwrap_or_default();
    let at = At::REQUEST.field("task");
    let retry = new_task::retry(spec.retry.as_ref(), at.field("retry"), &mut violations);
    let max_running = at.field("max_running_time");
    let max_running_ms =
        time::duration_ms(spec.max_running_time.as_ref(), max_running, &mut violations);
    let not_before_ms =
        time::timestamp_ms(spec.not_before.as_ref(), at.field("not_before"), &mut violations);
    violations.none()?;

    let mut input = TaskPatchInput { etag: request.etag, ..TaskPatchInput::default() };
    for path in &paths {
        match path.as_str() {
            "name" => input.name = Some(spec.name.clone()),
            "priority" => input.priority = Some(spec.priority.unwrap_or_default()),
            "labels" => input.labels = Some(spec.labels.clone()),
            "not_before" => input.not_before_ms = Some(not_before_ms),
            "max_running_time" => input.max_running_ms = Some(max_running_ms),
            "retry.max_retries" => {
                input.retry.max_retries = Some(retry.max_retries.unwrap_or_default());
            }
            "retry.interval" => input.retry.interval_ms = Some(retry.interval_ms.unwrap_or(0)),
            "retry.max_interval" => {
                input.retry.max_interval_ms = Some(retry.max_interval_ms.unwrap_or(0));
            }
            _ => {}
        }
    }
    patch::task_patch(input, now_ms)
}

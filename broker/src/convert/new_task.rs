//! What a client asks for when it creates a task.

use std::cell::Cell;

use asyncflow_core::{
    limits::{CALLBACK_LEVELS_MAX, CALLBACKS_ALL_MAX, CALLBACKS_MAX},
    retry::RetryPatch,
    validate::{
        at::At,
        new_task::{NewTaskInput, PredecessorInput},
    },
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{command, resources, task, time};

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
    let request_id = Some(request.request_id).filter(|id| !id.is_empty());
    let of = Of { user: caller, trace_id, level: 0, callbacks: &Cell::new(0) };
    let input = task_input(spec, at, of, violations);
    if of.callbacks.get() > CALLBACKS_ALL_MAX {
        let what = format!("more than {CALLBACKS_ALL_MAX} callbacks on all levels");
        violations.add(at, what);
    }
    NewTaskInput { request_id, ..input }
}

/// Whose task it is, in which trace, as a callback of a callback so many levels deep, and how many
/// callbacks there are so far.
#[derive(Clone, Copy)]
struct Of<'a> {
    user: &'a str,
    trace_id: &'a str,
    level: usize,
    callbacks: &'a Cell<usize>,
}

/// What is asked for, which stands at `at`.
fn task_input(
    spec: v1::TaskSpec,
    at: At<'_>,
    of: Of<'_>,
    violations: &mut Violations,
) -> NewTaskInput {
    let user = if spec.user.is_empty() { of.user.to_owned() } else { spec.user };
    let call = Of { user: &user, ..of };
    let max_running = at.field("max_running_time");
    let not_before = at.field("not_before");
    let needs = at.field("resources");
    NewTaskInput {
        retry: retry(spec.retry.as_ref(), at.field("retry"), violations),
        max_running_ms: time::duration_ms(spec.max_running_time.as_ref(), max_running, violations),
        not_before_ms: time::timestamp_ms(spec.not_before.as_ref(), not_before, violations),
        resources: spec.resources.map(|asked| resources::input(asked, needs, violations)),
        task_type: spec.task_type,
        name: spec.name,
        priority: spec.priority,
        labels: spec.labels,
        payload: task::content_from_proto(spec.payload.unwrap_or_default()),
        command: spec.command.map(command::from_proto),
        context: task::content_from_proto(spec.context.unwrap_or_default()),
        success_if: spec.success_if,
        after: spec.after.into_iter().map(predecessor).collect(),
        signals: spec.signals,
        on_success: callbacks(spec.on_success, at.field("on_success"), call, violations),
        on_error: callbacks(spec.on_error, at.field("on_error"), call, violations),
        on_cancel: callbacks(spec.on_cancel, at.field("on_cancel"), call, violations),
        request_id: None,
        trace_id: of.trace_id.to_owned(),
        user: user.clone(),
    }
}

/// What nests too deep, and what is too much, is left out here, but for one that the check refuses.
fn callbacks(
    specs: Vec<v1::TaskSpec>,
    list: At<'_>,
    of: Of<'_>,
    violations: &mut Violations,
) -> Vec<NewTaskInput> {
    let of = Of { level: of.level + 1, ..of };
    let kept = if of.level > CALLBACK_LEVELS_MAX + 1 { 0 } else { CALLBACKS_MAX + 1 };
    let mut inputs = Vec::new();
    for (index, spec) in specs.into_iter().take(kept).enumerate() {
        of.callbacks.set(of.callbacks.get() + 1);
        if of.callbacks.get() <= CALLBACKS_ALL_MAX {
            inputs.push(task_input(spec, list.item(index), of, violations));
        }
    }
    inputs
}

fn predecessor(predecessor: v1::Predecessor) -> PredecessorInput {
    PredecessorInput { task_id: predecessor.task_id, any_end: predecessor.any_end }
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

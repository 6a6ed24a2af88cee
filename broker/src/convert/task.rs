//! Tasks as clients and workers see them.

use std::collections::BTreeMap;

use asyncflow_core::{
    command::Command,
    etag,
    state::TaskState,
    task::{Content, Failure, FullTask, Progress, Task},
};
use asyncflow_proto::{
    time::{duration, timestamp},
    v1,
};

use super::{command, resources};

/// A row without labels and large values.
pub fn basic(task: Task) -> v1::Task {
    let due_ms = (task.state == TaskState::Scheduled).then_some(task.order_time_ms);
    v1::Task {
        id: task.id.to_string(),
        task_type: task.id.task_type().to_string(),
        name: task.name,
        user: task.user,
        state: state(task.state).into(),
        priority: task.priority,
        context_version: task.context_version,
        stage: task.stage,
        failure: task.failure.map(failure),
        progress: Some(progress(task.progress)),
        attempt: task.attempt,
        failures: task.failures,
        crashes: task.crashes,
        run: task.run,
        retry: Some(v1::RetryPolicy {
            max_retries: task.retry.max_retries,
            interval: Some(duration(task.retry.interval_ms)),
            max_interval: Some(duration(task.retry.max_interval_ms)),
        }),
        max_running_time: (task.max_running_ms > 0).then(|| duration(task.max_running_ms)),
        not_before: task.not_before_ms.map(timestamp),
        worker_id: task.holder.worker_id,
        create_time: Some(timestamp(task.create_time_ms)),
        update_time: Some(timestamp(task.update_time_ms)),
        claim_time: task.claim_time_ms.map(timestamp),
        start_time: task.start_time_ms.map(timestamp),
        finish_time: task.finish_time_ms.map(timestamp),
        due_time: due_ms.map(timestamp),
        etag: etag::of(task.revision),
        trace_id: task.trace_id,
        success_if: task.success_if,
        workflow_id: task.member.map(|member| member.workflow.to_string()).unwrap_or_default(),
        twin: task.ties.twin.then(|| v1::Twin { is_twin: true, ..v1::Twin::default() }),
        resources: task.resources.as_deref().map(resources::to_proto),
        ..v1::Task::default()
    }
}

/// A row with its labels, as lists show it.
pub fn listed(full: FullTask) -> v1::Task {
    v1::Task { labels: full.body.labels, ..basic(full.task) }
}

/// Everything. A payload that is a command is shown as the command.
pub fn full(full: FullTask) -> v1::Task {
    let body = full.body;
    let (payload, command) = payload(body.payload);
    v1::Task {
        labels: body.labels,
        payload,
        command,
        context: content(body.context),
        result: body.result.map(content_to_proto),
        result_expired: body.result_expired,
        ..basic(full.task)
    }
}

/// Signals by their names.
pub fn signals(signals: Vec<(String, Content)>) -> BTreeMap<String, v1::Content> {
    signals.into_iter().map(|(name, content)| (name, content_to_proto(content))).collect()
}

/// A task in the view that was asked for; `unspecified` is the one that is meant by default.
pub fn in_view(task: FullTask, asked: i32, unspecified: v1::TaskView) -> v1::Task {
    match view(asked, unspecified) {
        v1::TaskView::Full => full(task),
        _ => listed(task),
    }
}

/// The view that was asked for.
pub fn view(asked: i32, unspecified: v1::TaskView) -> v1::TaskView {
    match v1::TaskView::try_from(asked) {
        Ok(v1::TaskView::Unspecified) | Err(_) => unspecified,
        Ok(view) => view,
    }
}

/// A payload is either shown as it is or as the command that it holds.
pub fn payload(payload: Content) -> (Option<v1::Content>, Option<v1::Command>) {
    match Command::from_content(&payload) {
        Some(program) => (None, Some(command::to_proto(program))),
        None => (content(payload), None),
    }
}

/// A content that is not there is left out.
pub fn content(content: Content) -> Option<v1::Content> {
    (content != Content::default()).then(|| content_to_proto(content))
}

pub fn content_to_proto(content: Content) -> v1::Content {
    v1::Content { data: content.data, content_type: content.content_type }
}

pub fn content_from_proto(content: v1::Content) -> Content {
    Content { data: content.data, content_type: content.content_type }
}

pub fn failure(failure: Failure) -> v1::Failure {
    v1::Failure { reason: i32::from(failure.reason.code()), message: failure.message }
}

pub fn progress(progress: Progress) -> v1::Progress {
    v1::Progress { percent: progress.percent, message: progress.message, metrics: progress.metrics }
}

pub fn progress_from_proto(progress: v1::Progress) -> Progress {
    Progress { percent: progress.percent, message: progress.message, metrics: progress.metrics }
}

/// The numbers of the protocol are those of the domain; a test keeps it so.
pub fn state(state: TaskState) -> v1::TaskState {
    v1::TaskState::try_from(i32::from(state.code())).unwrap_or_default()
}

/// The state with this number on the wire; `None` for UNSPECIFIED and unknown numbers.
pub fn state_from_proto(number: i32) -> Option<TaskState> {
    i16::try_from(number).ok().and_then(TaskState::from_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use asyncflow_core::reason::FailureReason;

    #[test]
    fn the_numbers_of_states_and_reasons_are_those_of_the_protocol() {
        for known in TaskState::ALL {
            assert_eq!(state(known).as_str_name(), format!("TASK_STATE_{}", known.name()));
        }
        for known in FailureReason::ALL {
            let proto = v1::FailureReason::try_from(i32::from(known.code()));
            let name = proto.map(|reason| reason.as_str_name().replace('_', "").to_lowercase());
            assert_eq!(name, Ok(format!("failurereason{known:?}").to_lowercase()));
        }
    }
}

//! A task.

use super::{
    command::CommandView, content::ContentView, enum_name, pairs, resources::ResourcesView,
    unless_zero,
};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Failure, FailureReason, Progress, RetryPolicy, Task, TaskState, Twin};
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Task`.
#[derive(Debug, Serialize)]
pub struct TaskView {
    id: String,
    task_type: String,
    name: String,
    user: String,
    state: String,
    priority: i32,
    labels: BTreeMap<String, String>,
    payload: Option<ContentView>,
    command: Option<CommandView>,
    context: Option<ContentView>,
    context_version: i64,
    stage: String,
    result: Option<ContentView>,
    result_expired: bool,
    failure: Option<FailureView>,
    progress: Option<ProgressView>,
    attempt: i32,
    failures: i32,
    crashes: i32,
    run: i32,
    retry: Option<RetryView>,
    max_running_time: Option<String>,
    worker_id: String,
    not_before: Option<String>,
    create_time: Option<String>,
    update_time: Option<String>,
    claim_time: Option<String>,
    start_time: Option<String>,
    finish_time: Option<String>,
    due_time: Option<String>,
    etag: String,
    trace_id: String,
    workflow_id: String,
    success_if: String,
    resources: Option<ResourcesView>,
    waits_for: Vec<String>,
    twin: Option<TwinView>,
    signals: BTreeMap<String, ContentView>,
    #[serde(skip)]
    times: Times,
}

/// For relative times in tables.
#[derive(Debug)]
struct Times {
    create: Option<prost_types::Timestamp>,
    update: Option<prost_types::Timestamp>,
    start: Option<prost_types::Timestamp>,
    finish: Option<prost_types::Timestamp>,
    due: Option<prost_types::Timestamp>,
}

#[derive(Debug, Serialize)]
struct TwinView {
    task_id: String,
    is_twin: bool,
}

impl From<Twin> for TwinView {
    fn from(Twin { task_id, is_twin }: Twin) -> Self {
        Self { task_id, is_twin }
    }
}

/// Why a task or an attempt failed.
#[derive(Debug, Serialize)]
pub struct FailureView {
    reason: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct ProgressView {
    percent: Option<f64>,
    message: String,
    metrics: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct RetryView {
    max_retries: i32,
    interval: Option<String>,
    max_interval: Option<String>,
}

/// `RUNNING` etc.
pub fn state_name(state: i32) -> String {
    let known = TaskState::try_from(state).map(|state| state.as_str_name()).map_err(|_| state);
    enum_name(known, "TASK_STATE_")
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            state: state_name(task.state),
            labels: task.labels,
            payload: task.payload.map(Into::into),
            command: task.command.map(Into::into),
            context: task.context.map(Into::into),
            result: task.result.map(Into::into),
            result_expired: task.result_expired,
            failure: task.failure.map(Into::into),
            progress: task.progress.map(Into::into),
            retry: task.retry.map(Into::into),
            max_running_time: time::span_text(task.max_running_time.as_ref()),
            not_before: time::rfc3339(task.not_before.as_ref()),
            create_time: time::rfc3339(task.create_time.as_ref()),
            update_time: time::rfc3339(task.update_time.as_ref()),
            claim_time: time::rfc3339(task.claim_time.as_ref()),
            start_time: time::rfc3339(task.start_time.as_ref()),
            finish_time: time::rfc3339(task.finish_time.as_ref()),
            due_time: time::rfc3339(task.due_time.as_ref()),
            times: Times {
                create: task.create_time,
                update: task.update_time,
                start: task.start_time,
                finish: task.finish_time,
                due: task.due_time,
            },
            id: task.id,
            task_type: task.task_type,
            name: task.name,
            user: task.user,
            priority: task.priority,
            context_version: task.context_version,
            stage: task.stage,
            attempt: task.attempt,
            failures: task.failures,
            crashes: task.crashes,
            run: task.run,
            worker_id: task.worker_id,
            etag: task.etag,
            trace_id: task.trace_id,
            workflow_id: task.workflow_id,
            success_if: task.success_if,
            resources: task.resources.map(Into::into),
            waits_for: task.waits_for,
            twin: task.twin.map(Into::into),
            signals: task.signals.into_iter().map(|(name, it)| (name, it.into())).collect(),
        }
    }
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        let known = FailureReason::try_from(failure.reason)
            .map(|reason| reason.as_str_name())
            .map_err(|_| failure.reason);
        Self { reason: enum_name(known, "FAILURE_REASON_"), message: failure.message }
    }
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self { percent: progress.percent, message: progress.message, metrics: progress.metrics }
    }
}

impl From<RetryPolicy> for RetryView {
    fn from(retry: RetryPolicy) -> Self {
        Self {
            max_retries: retry.max_retries,
            interval: time::span_text(retry.interval.as_ref()),
            max_interval: time::span_text(retry.max_interval.as_ref()),
        }
    }
}

impl FailureView {
    pub fn for_people(&self) -> String {
        match self.message.as_str() {
            "" => self.reason.clone(),
            message => format!("{}: {message}", self.reason),
        }
    }
}

impl ProgressView {
    fn for_people(&self) -> String {
        let percent = self.percent.map(|percent| format!("{percent:.0}%")).unwrap_or_default();
        let metrics = pairs(self.metrics.iter().map(|(name, value)| (name, format!("{value:.4}"))));
        let parts = [percent.as_str(), self.message.as_str(), metrics.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
    }
}

impl TaskView {
    /// One line for `task watch`.
    pub fn line(&self, look: Look) -> String {
        let progress = self.progress.as_ref().map(ProgressView::for_people).unwrap_or_default();
        let failure = self.failure.as_ref().map(FailureView::for_people).unwrap_or_default();
        let attempt = format!("attempt {}", self.attempt);
        let state = look.palette.state(&self.state);
        let parts = [&self.id, &state, &self.name, &attempt, &self.stage, &progress, &failure];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("  ")
    }

    /// How long the last attempt took. Of a task that is not running and did not end by it nobody
    /// says when it ended: `task attempts` does.
    fn ran(&self, now_ms: i64) -> String {
        match self.state.as_str() {
            "RUNNING" | "CANCELLING" | "SUCCEEDED" | "FAILED" => {
                time::elapsed(self.times.start.as_ref(), self.times.finish.as_ref(), now_ms)
            }
            _ => String::new(),
        }
    }

    fn retries(&self) -> String {
        let Some(retry) = &self.retry else { return String::new() };
        let people =
            |span: &Option<String>| span.as_deref().map(time::text_for_people).unwrap_or_default();
        format!(
            "{} at most, {} failed so far; first wait {}, longest {}",
            retry.max_retries,
            self.failures,
            people(&retry.interval),
            people(&retry.max_interval)
        )
    }
}

impl View for TaskView {
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "STATE", "STAGE", "PROGRESS", "ATTEMPT", "USER", "WORKER", "CREATED"];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let percent = self.progress.as_ref().and_then(|progress| progress.percent);
        let is_twin = self.twin.as_ref().is_some_and(|twin| twin.is_twin);
        vec![
            self.id.clone(),
            if is_twin { format!("{} (twin)", self.name) } else { self.name.clone() },
            look.palette.state(&self.state),
            self.stage.clone(),
            percent.map(|percent| format!("{percent:.0}%")).unwrap_or_default(),
            unless_zero(self.attempt),
            self.user.clone(),
            self.worker_id.clone(),
            time::relative(self.times.create.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let people = |content: &Option<ContentView>| {
            content.as_ref().map(ContentView::for_people).unwrap_or_default()
        };
        let relative = |time: &Option<_>| time::relative(Option::as_ref(time), look.now_ms);
        let other = |is_twin: bool| {
            let twin = self.twin.as_ref().filter(|twin| twin.is_twin == is_twin);
            twin.map(|twin| twin.task_id.clone()).unwrap_or_default()
        };
        let max_time =
            self.max_running_time.as_deref().map(time::text_for_people).unwrap_or_default();
        let ran = self.ran(look.now_ms);
        let needs = self.resources.as_ref().map(ResourcesView::for_people).unwrap_or_default();
        [
            ("id", self.id.clone()),
            ("name", self.name.clone()),
            ("type", self.task_type.clone()),
            ("user", self.user.clone()),
            ("state", look.palette.state(&self.state)),
            ("waits for", self.waits_for.join(", ")),
            ("twin", other(false)),
            ("twin of", other(true)),
            ("failure", self.failure.as_ref().map(FailureView::for_people).unwrap_or_default()),
            ("stage", self.stage.clone()),
            ("progress", self.progress.as_ref().map(ProgressView::for_people).unwrap_or_default()),
            ("attempt", unless_zero(self.attempt)),
            ("run", unless_zero(self.run)),
            ("retries", self.retries()),
            ("crashes", unless_zero(self.crashes)),
            ("priority", unless_zero(self.priority)),
            ("labels", pairs(&self.labels)),
            ("worker", self.worker_id.clone()),
            ("max time", max_time),
            ("created", relative(&self.times.create)),
            ("due", relative(&self.times.due)),
            ("started", relative(&self.times.start)),
            ("ran for", ran),
            ("finished", relative(&self.times.finish)),
            ("changed", relative(&self.times.update)),
        ]
        .into_iter()
        .chain(self.command.as_ref().map(CommandView::fields).unwrap_or_default())
        .chain([
            ("payload", people(&self.payload)),
            ("context", people(&self.context)),
            ("context version", unless_zero(self.context_version)),
            ("result", if self.result_expired { expired() } else { people(&self.result) }),
            ("trace", self.trace_id.clone()),
            ("workflow", self.workflow_id.clone()),
            ("success if", self.success_if.clone()),
            ("needs", needs),
            ("signals", self.signals.keys().cloned().collect::<Vec<_>>().join(", ")),
        ])
        .collect()
    }
}

/// Instead of a result that its type does not keep any more.
fn expired() -> String {
    "(not kept any more)".to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::style::Palette;
    use asyncflow_proto::{time::timestamp, v1::Content};

    fn task() -> Task {
        Task {
            id: "train-1-0c5wzq8a7r2kd".into(),
            task_type: "train".into(),
            state: TaskState::Failed.into(),
            labels: [("b".into(), "2".into()), ("a".into(), "1".into())].into(),
            failure: Some(Failure { reason: FailureReason::TimedOut.into(), message: "5m".into() }),
            result: Some(Content { data: b"{}".as_slice().into(), content_type: String::new() }),
            create_time: Some(timestamp(1_767_225_600_000)),
            max_running_time: Some(prost_types::Duration { seconds: 3, nanos: 500_000_000 }),
            ..Task::default()
        }
    }

    #[test]
    fn json_has_the_protocols_names_and_every_key() {
        let json = serde_json::to_value(TaskView::from(task())).unwrap();
        for (pointer, expected) in [
            ("/state", "FAILED"),
            ("/failure/reason", "TIMED_OUT"),
            ("/create_time", "2026-01-01T00:00:00Z"),
            ("/max_running_time", "3.500s"),
            ("/labels/a", "1"),
            ("/result/text", "{}"),
        ] {
            assert_eq!(json.pointer(pointer).unwrap(), expected, "{pointer}");
        }
        assert!(json.get("finish_time").unwrap().is_null());
        assert!(json.get("times").is_none());
    }

    #[test]
    fn a_row_fits_its_headings_and_details_leave_nothing_out() {
        let look = Look { palette: Palette::stdout(), now_ms: 1_767_225_660_000 };
        let view = TaskView::from(task());
        let row = view.row(look);
        assert_eq!(row.len(), TaskView::COLUMNS.len());
        assert_eq!(row.last().unwrap(), "1m ago");
        let details = view.details(look);
        assert!(details.contains(&("failure", "TIMED_OUT: 5m".to_owned())));
        assert!(details.contains(&("labels", "a=1 b=2".to_owned())));
    }

    #[test]
    fn who_waits_does_not_run() {
        let [start, finish] = [1_000_000, 1_004_000].map(|ms| Some(timestamp(ms)));
        for (state, finish_time, ran) in [
            (TaskState::Running, None, "9.0s"),
            (TaskState::Succeeded, finish, "4.0s"),
            (TaskState::Blocked, None, ""),
            (TaskState::Scheduled, None, ""),
            (TaskState::Cancelled, finish, ""),
        ] {
            let state = state.into();
            let task = Task { state, start_time: start, finish_time, ..Task::default() };
            assert_eq!(TaskView::from(task).ran(1_009_000), ran);
        }
    }

    #[test]
    fn an_unknown_state_of_a_newer_broker_is_a_number() {
        assert_eq!(state_name(99), "99");
    }
}

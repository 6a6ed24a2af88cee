//! UpdateTask: the fields that an owner may change, and never the state.

use std::collections::BTreeMap;

use super::{at::At, label, new_task, text, time};
use crate::{
    etag,
    event::TaskPatch,
    limits::NAME_BYTES_MAX,
    retry::RetryPatch,
    violation::{Violations, shown},
};

/// The paths that the update mask of a task may hold.
pub const TASK_PATHS: [&str; 8] = [
    "name",
    "priority",
    "labels",
    "not_before",
    "retry.max_retries",
    "retry.interval",
    "retry.max_interval",
    "max_running_time",
];

/// The paths that the update mask of a task type may hold.
pub const TASK_TYPE_PATHS: [&str; 17] = [
    "description",
    "schedule_limit",
    "priority",
    "retry.max_retries",
    "retry.interval",
    "retry.max_interval",
    "max_running_time",
    "max_crashes",
    "max_context_bytes",
    "shard_max_rows",
    "shard_max_age",
    "retention",
    "result_retention",
    "archive",
    "paused",
    "speculation",
    "resources",
];

/// A change of a task as it came in, already reduced to the fields in its mask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPatchInput {
    pub name: Option<String>,
    pub priority: Option<i32>,
    pub labels: Option<BTreeMap<String, String>>,
    /// `Some(None)` clears it.
    pub not_before_ms: Option<Option<i64>>,
    pub retry: RetryPatch,
    /// `Some(None)` clears it.
    pub max_running_ms: Option<Option<i64>>,
    /// Empty = whatever the task's is.
    pub etag: String,
}

/// Checks a change of a task; its fields stand at `task`.
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn task_patch(input: TaskPatchInput, now_ms: i64) -> Result<TaskPatch, Violations> {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("task");
    if let Some(name) = &input.name {
        text::line(name, NAME_BYTES_MAX, at.field("name"), &mut violations);
    }
    if let Some(priority) = input.priority {
        new_task::priority(priority, at.field("priority"), &mut violations);
    }
    if let Some(labels) = &input.labels {
        label::labels(labels, at.field("labels"), &mut violations);
    }
    if let Some(Some(value_ms)) = input.not_before_ms {
        time::not_before(value_ms, now_ms, at.field("not_before"), &mut violations);
    }
    new_task::retry(&input.retry, at.field("retry"), &mut violations);
    if let Some(Some(value_ms)) = input.max_running_ms {
        time::duration(value_ms, at.field("max_running_time"), &mut violations);
    }
    let expected_revision = revision(&input.etag, At::REQUEST.field("etag"), &mut violations);
    violations.ok_or(Some(TaskPatch {
        name: input.name,
        priority: input.priority,
        labels: input.labels,
        not_before_ms: input.not_before_ms,
        retry: input.retry,
        max_running_ms: input.max_running_ms.map(Option::unwrap_or_default),
        expected_revision,
    }))
}

/// The paths of an update mask, which must not be empty and may only hold `allowed`.
pub fn mask<'a>(
    paths: impl IntoIterator<Item = &'a str>,
    allowed: &[&str],
    violations: &mut Violations,
) {
    let at = At::REQUEST.field("update_mask");
    let mut empty = true;
    for path in paths {
        empty = false;
        if !allowed.contains(&path) {
            let what = format!("{} cannot be updated; one of {}", shown(path), allowed.join(", "));
            violations.add(at, what);
        }
    }
    if empty {
        violations.add(at, format!("must not be empty; some of {}", allowed.join(", ")));
    }
}

/// The revision behind an etag; `None` when it is empty, and with a violation when it is not ours.
pub fn revision(text: &str, at: At<'_>, violations: &mut Violations) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let revision = etag::parse(text);
    if revision.is_none() {
        let what = format!("{} is not an etag; give back one that you were given", shown(text));
        violations.add(at, what);
    }
    revision
}

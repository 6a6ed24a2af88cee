//! An operation on many tasks, and what it would meet.

use super::{enum_name, task::state_name, unless_zero};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Operation, OperationKind, OperationState, StateCount};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `Operation`.
#[derive(Debug, Serialize)]
pub struct OperationView {
    id: String,
    kind: String,
    state: String,
    user: String,
    filter: String,
    all: bool,
    max_tasks: i64,
    only_user: String,
    matched_count: i64,
    changed_count: i64,
    skipped_count: i64,
    failed_count: i64,
    issues: Vec<Issue>,
    message: String,
    create_time: Option<String>,
    update_time: Option<String>,
    finish_time: Option<String>,
    #[serde(skip)]
    created: Option<Timestamp>,
    #[serde(skip)]
    finished: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Issue {
    task_id: String,
    message: String,
}

impl From<Operation> for OperationView {
    fn from(operation: Operation) -> Self {
        let kind = OperationKind::try_from(operation.kind).map(|kind| kind.as_str_name());
        let state = OperationState::try_from(operation.state).map(|state| state.as_str_name());
        let selection = operation.selection.unwrap_or_default();
        let issues = operation.issues.into_iter();
        Self {
            id: operation.id,
            kind: enum_name(kind.map_err(|_| operation.kind), "OPERATION_KIND_"),
            state: enum_name(state.map_err(|_| operation.state), "OPERATION_STATE_"),
            user: operation.user,
            filter: selection.filter,
            all: selection.all,
            max_tasks: selection.max_tasks,
            only_user: operation.only_user,
            matched_count: operation.matched_count,
            changed_count: operation.changed_count,
            skipped_count: operation.skipped_count,
            failed_count: operation.failed_count,
            issues: issues
                .map(|issue| Issue { task_id: issue.task_id, message: issue.message })
                .collect(),
            message: operation.message,
            create_time: time::rfc3339(operation.create_time.as_ref()),
            update_time: time::rfc3339(operation.update_time.as_ref()),
            finish_time: time::rfc3339(operation.finish_time.as_ref()),
            created: operation.create_time,
            finished: operation.finish_time,
        }
    }
}

impl OperationView {
    /// How far it is, in a few words.
    pub fn progress(&self) -> String {
        let mut text = format!("{} {}: {} changed", self.kind, self.state, self.changed_count);
        for (count, name) in [(self.skipped_count, "skipped"), (self.failed_count, "failed")] {
            if count > 0 {
                text.push_str(&format!(", {count} {name}"));
            }
        }
        text
    }
}

impl View for OperationView {
    const COLUMNS: &'static [&'static str] =
        &["ID", "KIND", "STATE", "CHANGED", "SKIPPED", "FAILED", "USER", "CREATED", "FILTER"];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let filter = if self.all { "(all)" } else { &self.filter };
        vec![
            self.id.clone(),
            self.kind.clone(),
            look.palette.state(&self.state),
            self.changed_count.to_string(),
            unless_zero(self.skipped_count),
            unless_zero(self.failed_count),
            self.user.clone(),
            time::relative(self.created.as_ref(), look.now_ms),
            filter.to_owned(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names =
            ["id", "kind", "state", "changed", "skipped", "failed", "user", "created", "filter"];
        let mut details: Vec<_> = names.into_iter().zip(self.row(look)).collect();
        let issues = self.issues.iter();
        let issues: Vec<String> =
            issues.map(|issue| format!("{}: {}", issue.task_id, issue.message)).collect();
        details.extend([
            ("at most", unless_zero(self.max_tasks)),
            ("only user", self.only_user.clone()),
            ("finished", time::relative(self.finished.as_ref(), look.now_ms)),
            ("message", self.message.clone()),
            ("not changed", issues.join("\n")),
        ]);
        details
    }
}

/// How many tasks an operation would meet in a state.
#[derive(Debug, Serialize)]
pub struct MatchView {
    state: String,
    count: i64,
    /// There may be more.
    at_least: bool,
}

impl MatchView {
    pub fn new(count: &StateCount, at_least: bool) -> Self {
        Self { state: state_name(count.state), count: count.count, at_least }
    }

    /// `3 PENDING`
    pub fn text(&self) -> String {
        format!("{} {}", self.count, self.state)
    }
}

impl View for MatchView {
    const COLUMNS: &'static [&'static str] = &["STATE", "COUNT"];

    fn id(&self) -> String {
        self.count.to_string()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let least = if self.at_least { "at least " } else { "" };
        vec![look.palette.state(&self.state), format!("{least}{}", self.count)]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["state", "count"].into_iter().zip(self.row(look)).collect()
    }
}

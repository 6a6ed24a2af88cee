//! A workflow.

use super::{enum_name, pairs};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Workflow, WorkflowState, WorkflowTally};
use prost_types::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Workflow`.
#[derive(Debug, Serialize)]
pub struct WorkflowView {
    id: String,
    name: String,
    user: String,
    labels: BTreeMap<String, String>,
    state: String,
    node_count: i32,
    ended: Tally,
    message: String,
    parent_workflow_id: String,
    create_time: Option<String>,
    update_time: Option<String>,
    finish_time: Option<String>,
    trace_id: String,
    #[serde(skip)]
    created: Option<Timestamp>,
    #[serde(skip)]
    finished: Option<Timestamp>,
}

/// See the protocol's `WorkflowTally`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    succeeded: i32,
    failed: i32,
    cancelled: i32,
    skipped: i32,
}

impl From<Option<WorkflowTally>> for Tally {
    fn from(tally: Option<WorkflowTally>) -> Self {
        let tally = tally.unwrap_or_default();
        let WorkflowTally { succeeded, failed, cancelled, skipped } = tally;
        Self { succeeded, failed, cancelled, skipped }
    }
}

impl Tally {
    /// How many that are.
    pub fn ended(&self) -> i32 {
        self.succeeded + self.failed + self.cancelled + self.skipped
    }
}

impl WorkflowView {
    pub fn state(&self) -> &str {
        &self.state
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it did not succeed.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// On one line: what it is, its state, and how far it is.
    pub fn told(&self, look: Look) -> String {
        let state = look.palette.state(&self.state);
        let nodes = format!("{}/{} nodes", self.ended.ended(), self.node_count);
        let why = if self.message.is_empty() { "" } else { "  " };
        format!("{}  {}  {state}  {nodes}{why}{}", self.id, self.name, self.message)
    }
}

impl From<Workflow> for WorkflowView {
    fn from(workflow: Workflow) -> Self {
        let state = WorkflowState::try_from(workflow.state).map(|state| state.as_str_name());
        Self {
            id: workflow.id,
            name: workflow.name,
            user: workflow.user,
            labels: workflow.labels,
            state: enum_name(state.map_err(|_| workflow.state), "WORKFLOW_STATE_"),
            node_count: workflow.node_count,
            ended: workflow.ended.into(),
            message: workflow.message,
            parent_workflow_id: workflow.parent_workflow_id,
            create_time: time::rfc3339(workflow.create_time.as_ref()),
            update_time: time::rfc3339(workflow.update_time.as_ref()),
            finish_time: time::rfc3339(workflow.finish_time.as_ref()),
            trace_id: workflow.trace_id,
            created: workflow.create_time,
            finished: workflow.finish_time,
        }
    }
}

impl View for WorkflowView {
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "STATE", "NODES", "USER", "CREATED", "FINISHED"];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            look.palette.state(&self.state),
            format!("{}/{}", self.ended.ended(), self.node_count),
            self.user.clone(),
            time::relative(self.created.as_ref(), look.now_ms),
            time::relative(self.finished.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["id", "name", "state", "nodes", "user", "created", "finished"];
        let mut details: Vec<_> = names.into_iter().zip(self.row(look)).collect();
        details.extend([
            ("labels", pairs(&self.labels)),
            ("message", self.message.clone()),
            ("parent", self.parent_workflow_id.clone()),
        ]);
        details
    }
}

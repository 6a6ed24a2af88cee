//! A workflow, and its graph.

use super::{enum_name, pairs};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{
    EdgeCondition, Workflow, WorkflowNodeState, WorkflowNodeStatus, WorkflowState, WorkflowTally,
};
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
#[derive(Debug, Default, Serialize)]
struct Tally {
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
    fn ended(&self) -> i32 {
        self.succeeded + self.failed + self.cancelled + self.skipped
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

/// How deep a line is drawn, and how many names it tells, so that people can read a large graph.
const INDENT_MAX: usize = 20;
const NAMES_MAX: usize = 5;

/// A workflow with its nodes.
#[derive(Debug, Serialize)]
pub struct GraphView {
    workflow: WorkflowView,
    nodes: Vec<NodeView>,
}

/// See the protocol's `WorkflowNodeStatus`.
#[derive(Debug, Serialize)]
struct NodeView {
    name: String,
    depends_on: Vec<String>,
    when: String,
    state: String,
    item_count: i32,
    started_count: i32,
    ended: Tally,
    message: String,
}

impl From<WorkflowNodeStatus> for NodeView {
    fn from(node: WorkflowNodeStatus) -> Self {
        let state = WorkflowNodeState::try_from(node.state).map(|state| state.as_str_name());
        let when = EdgeCondition::try_from(node.when).map(|when| when.as_str_name());
        Self {
            name: node.name,
            depends_on: node.depends_on,
            when: enum_name(when.map_err(|_| node.when), "EDGE_CONDITION_"),
            state: enum_name(state.map_err(|_| node.state), "WORKFLOW_NODE_STATE_"),
            item_count: node.item_count,
            started_count: node.started_count,
            ended: node.ended.into(),
            message: node.message,
        }
    }
}

impl NodeView {
    fn items(&self) -> String {
        if self.item_count < 2 {
            return String::new();
        }
        format!("  {}/{}", self.ended.ended(), self.item_count)
    }
}

impl GraphView {
    pub fn new(workflow: WorkflowView, nodes: Vec<WorkflowNodeStatus>) -> Self {
        Self { workflow, nodes: nodes.into_iter().map(NodeView::from).collect() }
    }

    pub fn workflow(&self) -> &WorkflowView {
        &self.workflow
    }

    /// The graph as lines: each node in the order in which they can run, as deep as the longest way
    /// to it, with what it waits for.
    pub fn lines(&self, look: Look) -> Vec<String> {
        let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
        let mut left: Vec<&NodeView> = self.nodes.iter().collect();
        let mut lines = Vec::new();
        while !left.is_empty() {
            let depth = |node: &&NodeView| {
                let needs = node.depends_on.iter().map(|name| depths.get(name.as_str()).copied());
                needs.collect::<Option<Vec<_>>>().map(|needs| needs.into_iter().max())
            };
            let (ready, waiting): (Vec<_>, Vec<_>) =
                left.into_iter().map(|node| (depth(&node), node)).partition(|(d, _)| d.is_some());
            if ready.is_empty() {
                break;
            }
            for (depth, node) in ready {
                let depth = depth.flatten().map_or(0, |depth| depth + 1);
                depths.insert(&node.name, depth);
                lines.push(line(node, depth, look));
            }
            left = waiting.into_iter().map(|(_, node)| node).collect();
        }
        lines
    }
}

fn line(node: &NodeView, depth: usize, look: Look) -> String {
    let arrow = match depth {
        0 => String::new(),
        _ => format!("{}└─ ", "   ".repeat(depth.min(INDENT_MAX) - 1)),
    };
    let mut line = format!("{arrow}{}  {}", node.name, look.palette.state(&node.state));
    line.push_str(&node.items());
    if node.depends_on.len() > 1 || node.when != "ALL_SUCCEEDED" {
        let when = node.when.to_lowercase().replace('_', " ");
        let named = node.depends_on.len().min(NAMES_MAX);
        let (names, more) = node.depends_on.split_at(named);
        let more = match more.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let after = format!("  after {when} of {}{more}", names.join(", "));
        line.push_str(&look.palette.faint(&after));
    }
    if !node.message.is_empty() {
        line.push_str(&format!("  {}", node.message));
    }
    line
}

impl View for GraphView {
    const COLUMNS: &'static [&'static str] = WorkflowView::COLUMNS;

    fn id(&self) -> String {
        self.workflow.id()
    }

    fn row(&self, look: Look) -> Vec<String> {
        self.workflow.row(look)
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        self.workflow.details(look)
    }
}

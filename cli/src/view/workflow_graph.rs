//! A workflow with its nodes.

use super::{
    enum_name,
    workflow::{Tally, WorkflowView},
    workflow_drawing::{Drawn, draw},
};
use crate::output::{Look, View};
use asyncflow_proto::v1::{EdgeCondition, WorkflowNodeState, WorkflowNodeStatus};
use serde::Serialize;

/// A workflow with its nodes.
#[derive(Debug, Serialize)]
pub struct GraphView {
    workflow: WorkflowView,
    nodes: Vec<NodeView>,
}

/// See the protocol's `WorkflowNodeStatus`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    pub name: String,
    pub depends_on: Vec<String>,
    pub when: String,
    pub state: String,
    item_count: i32,
    started_count: i32,
    ended: Tally,
    pub message: String,
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
    /// Its name, its state, and how many of its items have ended.
    pub fn told(&self, look: Look) -> String {
        let state = look.palette.state(&self.state);
        match self.item_count {
            0 | 1 => format!("{}  {state}", self.name),
            count => format!("{}  {state}  {}/{count}", self.name, self.ended.ended()),
        }
    }

    /// Whether people who watch look for it first.
    pub fn is_live(&self) -> bool {
        matches!(self.state.as_str(), "RUNNING" | "STOPPING" | "FAILED")
    }
}

impl GraphView {
    pub fn new(workflow: WorkflowView, nodes: Vec<WorkflowNodeStatus>) -> Self {
        Self { workflow, nodes: nodes.into_iter().map(NodeView::from).collect() }
    }

    pub fn workflow(&self) -> &WorkflowView {
        &self.workflow
    }

    /// The graph for a screen of so many columns; `None` = as wide as it is.
    pub fn drawn(&self, look: Look, columns: Option<usize>) -> Vec<Drawn> {
        draw(&self.nodes, look, columns)
    }

    /// What is news since an earlier view, one line each: the state of the whole, and the nodes
    /// that are not as they were. Without one, those whose turn has come.
    pub fn news(&self, before: Option<&Self>, look: Look) -> Vec<String> {
        let mut lines = Vec::new();
        let (id, state) = (self.workflow.id(), self.workflow.state());
        if before.is_none_or(|before| before.workflow.state() != state) {
            lines.push(format!("{id}  {}", look.palette.state(state)));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let is_news = match before.and_then(|before| before.nodes.get(at)) {
                Some(was) => was != node,
                None => node.state != "WAITING",
            };
            if is_news {
                let why = if node.message.is_empty() { "" } else { "  " };
                lines.push(format!("{id}  {}{why}{}", node.told(look), node.message));
            }
        }
        lines
    }
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

//! Workflows before they are stored.

use asyncflow_core::{
    id::WorkflowId,
    task::{Content, Member},
    workflow::{definition::Flow, progress::Progress},
};

use super::row::Workflow;

/// A workflow that is to be made.
pub(super) struct Birth {
    pub workflow: Workflow,
    pub flow: Flow,
    pub input: Content,
    pub request_id: Option<String>,
    pub digest: i64,
}

/// The workflow that is an item of another.
pub(super) fn child(
    id: WorkflowId,
    parent: &Workflow,
    member: Member,
    flow: Flow,
    input: Content,
    now_ms: i64,
) -> Birth {
    let workflow = Workflow {
        id,
        user: parent.user.clone(),
        name: parent.name.clone(),
        trace_id: parent.trace_id.clone(),
        progress: Progress::default(),
        revision: 0,
        nodes: flow.nodes.len() as u32,
        parent: Some(member),
        parent_task: None,
        create_time_ms: now_ms,
        update_time_ms: now_ms,
        finish_time_ms: None,
        message: None,
        labels: parent.labels.clone(),
    };
    Birth { workflow, flow, input, request_id: None, digest: 0 }
}

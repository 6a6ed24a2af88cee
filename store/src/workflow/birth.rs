//! Workflows before they are stored.

use asyncflow_core::{
    id::WorkflowId,
    task::{Content, Member},
    workflow::{
        definition::{Flow, NewWorkflow},
        progress::Progress,
    },
};

use super::row::Workflow;

/// A workflow that is to be made.
pub(crate) struct Birth {
    pub(super) workflow: Workflow,
    pub(super) flow: Flow,
    pub(super) input: Content,
    pub(super) request_id: Option<String>,
    pub(super) digest: i64,
}

impl Birth {
    /// The workflow that somebody asked for.
    pub(crate) fn of(new: &NewWorkflow, id: WorkflowId, digest: i64, now_ms: i64) -> Self {
        let workflow = Workflow {
            id,
            user: new.user.clone(),
            name: new.name.clone(),
            trace_id: new.trace_id.clone(),
            progress: Progress::default(),
            revision: 0,
            nodes: new.flow.nodes.len() as u32,
            parent: None,
            parent_task: None,
            create_time_ms: now_ms,
            update_time_ms: now_ms,
            finish_time_ms: None,
            message: None,
            labels: new.labels.clone(),
        };
        Self {
            workflow,
            flow: new.flow.clone(),
            input: new.input.clone(),
            request_id: new.request_id.clone(),
            digest,
        }
    }
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

//! Verbs on workflows.

pub mod cancel_workflow;
pub mod create_workflow;
pub mod get_workflow;
pub mod list_workflow_items;
pub mod list_workflows;
pub mod retry_workflow;
pub mod signal_workflow;
pub mod wait_workflow;
pub mod watch_workflow;

use asyncflow_core::{
    id::WorkflowId,
    validate::{at::At, text},
    violation::Violations,
};

use crate::error::RpcError;

/// The workflow that a request names.
fn workflow_id(value: &str) -> Result<WorkflowId, RpcError> {
    let mut violations = Violations::new();
    let id = text::workflow_id(value, At::REQUEST.field("workflow_id"), &mut violations);
    Ok(violations.ok_or(id)?)
}

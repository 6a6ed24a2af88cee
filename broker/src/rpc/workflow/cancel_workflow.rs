//! CancelWorkflow: nothing more starts, what runs is stopped.

use asyncflow_core::{access::Principal, workflow::progress::WorkflowState};
use asyncflow_proto::v1;

use super::workflow_id;
use crate::{broker::Broker, convert, error::RpcError, principal::permit_user};

pub async fn cancel_workflow(
    broker: &Broker,
    caller: &Principal,
    request: v1::CancelWorkflowRequest,
) -> Result<v1::CancelWorkflowResponse, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let before = broker.store.find_workflow(id).await?.ok_or(RpcError::WorkflowNotFound(id))?;
    permit_user(caller, &before.user)?;
    let state = before.progress.state;
    if matches!(state, WorkflowState::Succeeded | WorkflowState::Failed) {
        return Err(RpcError::WorkflowIsOver(state));
    }
    let cancelled = broker.store.cancel_workflow(id).await?;
    let (workflow, made) = cancelled.ok_or(RpcError::WorkflowNotFound(id))?;
    broker.dispatch.note(made.iter());
    Ok(v1::CancelWorkflowResponse { workflow: Some(convert::workflow::to_proto(workflow)) })
}

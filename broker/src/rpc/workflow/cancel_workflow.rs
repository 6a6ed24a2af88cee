//! CancelWorkflow: nothing more starts, what runs is stopped.

use asyncflow_proto::v1;

use super::workflow_id;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn cancel_workflow(
    broker: &Broker,
    request: v1::CancelWorkflowRequest,
) -> Result<v1::CancelWorkflowResponse, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let cancelled = broker.store.cancel_workflow(id).await?;
    let (workflow, made) = cancelled.ok_or(RpcError::WorkflowNotFound(id))?;
    broker.dispatch.note(made.iter());
    Ok(v1::CancelWorkflowResponse { workflow: Some(convert::workflow::to_proto(workflow)) })
}

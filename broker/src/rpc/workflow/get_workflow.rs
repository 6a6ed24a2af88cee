//! GetWorkflow: the workflow and its nodes.

use asyncflow_proto::v1;

use super::workflow_id;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn get_workflow(
    broker: &Broker,
    request: v1::GetWorkflowRequest,
) -> Result<v1::GetWorkflowResponse, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let view = broker.store.get_workflow(id).await?.ok_or(RpcError::WorkflowNotFound(id))?;
    Ok(v1::GetWorkflowResponse {
        nodes: convert::workflow::nodes(&view.nodes),
        workflow: Some(convert::workflow::to_proto(view.workflow)),
    })
}

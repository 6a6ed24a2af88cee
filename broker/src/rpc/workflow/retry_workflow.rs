//! RetryWorkflow: what did not succeed runs again.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;
use asyncflow_store::RetryWorkflowError;

use super::workflow_id;
use crate::{broker::Broker, convert, error::RpcError, principal::permit_user};

pub async fn retry_workflow(
    broker: &Broker,
    caller: &Principal,
    request: v1::RetryWorkflowRequest,
) -> Result<v1::RetryWorkflowResponse, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let before = broker.store.find_workflow(id).await?.ok_or(RpcError::WorkflowNotFound(id))?;
    permit_user(caller, &before.user)?;
    let (workflow, made) = match broker.store.retry_workflow(id).await {
        Ok(retried) => retried,
        Err(RetryWorkflowError::NotFound) => return Err(RpcError::WorkflowNotFound(id)),
        Err(RetryWorkflowError::Store(error)) => return Err(error.into()),
        Err(refusal) => return Err(RpcError::WorkflowRefused(id, refusal)),
    };
    broker.dispatch.note(made.iter());
    Ok(v1::RetryWorkflowResponse { workflow: Some(convert::workflow::to_proto(workflow)) })
}

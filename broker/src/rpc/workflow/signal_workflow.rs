//! SignalWorkflow: something that tasks of a workflow wait for, or will, has happened.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;
use asyncflow_store::SignalError;

use super::workflow_id;
use crate::{
    broker::Broker,
    convert,
    error::RpcError,
    rpc::task::signal_task::{checked, not_signalled},
};

pub async fn signal_workflow(
    broker: &Broker,
    caller: &Principal,
    request: v1::SignalWorkflowRequest,
) -> Result<v1::SignalWorkflowResponse, RpcError> {
    let content = checked(&request.name, request.content)?;
    let id = workflow_id(&request.workflow_id)?;
    let sent = broker.store.signal_workflow(id, (&request.name, &content), &caller.user).await;
    let (workflow, made) = sent.map_err(|error| match error {
        SignalError::NotFound => RpcError::WorkflowNotFound(id),
        error => not_signalled(error),
    })?;
    broker.dispatch.note(made.iter());
    Ok(v1::SignalWorkflowResponse { workflow: Some(convert::workflow::to_proto(workflow)) })
}

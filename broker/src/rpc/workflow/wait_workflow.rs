//! WaitWorkflow: answers when the workflow is over or the time is.

use asyncflow_core::{
    limits::WAIT_MS_DEFAULT,
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::ChangeRow;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    broker::Broker,
    clock,
    convert::{self, time},
    error::RpcError,
};

pub async fn wait_workflow(
    broker: &Broker,
    request: v1::WaitWorkflowRequest,
) -> Result<v1::WaitWorkflowResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let id = text::workflow_id(&request.workflow_id, at.field("workflow_id"), &mut violations);
    let timeout = at.field("timeout");
    let asked_ms = time::duration_ms(request.timeout.as_ref(), timeout, &mut violations);
    let wait_ms = list::wait_ms(asked_ms, WAIT_MS_DEFAULT, timeout, &mut violations);
    let id = violations.ok_or(id)?;
    let ends = |row: &ChangeRow| {
        row.workflows.iter().any(|change| change.id == id && change.state.is_terminal())
    };

    let over = tokio::time::sleep_until(clock::in_ms(wait_ms));
    tokio::pin!(over);
    let mut feed = broker.feed.subscribe().await?;
    loop {
        let workflow = broker.store.find_workflow(id).await?;
        let workflow = workflow.ok_or(RpcError::WorkflowNotFound(id))?;
        let done = workflow.progress.state.is_terminal();
        if done || over.is_elapsed() || broker.draining.is_cancelled() {
            let workflow = Some(convert::workflow::to_proto(workflow));
            return Ok(v1::WaitWorkflowResponse { workflow, done });
        }
        loop {
            tokio::select! {
                () = &mut over => break,
                () = broker.draining.cancelled() => break,
                row = feed.rows.recv() => match row {
                    Ok(row) if !ends(&row) => {}
                    // Having missed some it looks, as it does when its workflow is over.
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(RpcError::ShuttingDown),
                },
            }
        }
    }
}

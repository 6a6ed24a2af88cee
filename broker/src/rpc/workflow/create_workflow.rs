//! CreateWorkflow: check everything → may the caller → the types → one transaction.

use std::collections::HashMap;

use asyncflow_core::{access::Principal, validate::at::At, violation::Violations};
use asyncflow_proto::v1;
use asyncflow_store::CreateWorkflowError;
use tokio::task::spawn_blocking;

use crate::{batch::BatchError, broker::Broker, convert, error::RpcError, principal::permit_user};

pub async fn create_workflow(
    broker: &Broker,
    caller: &Principal,
    trace_id: &str,
    request: v1::CreateWorkflowRequest,
) -> Result<v1::CreateWorkflowResponse, RpcError> {
    let validate_only = request.validate_only;
    let now_ms = broker.store.now_ms().await?;
    let (user, trace) = (caller.user.clone(), trace_id.to_owned());
    // Thousands of nodes, and each expression is read.
    let checking = spawn_blocking(move || {
        let mut violations = Violations::new();
        let of_call = convert::workflow::Call { user: &user, trace_id: &trace, now_ms };
        let new = convert::workflow::new_workflow(request, of_call, At::REQUEST, &mut violations);
        violations.ok_or(new)
    });
    let new = checking.await.map_err(|_| BatchError::Broken)??;

    permit_user(caller, &new.user)?;
    let mut types = HashMap::new();
    for (name, with_command) in new.flow.task_types() {
        let found = broker.task_type_for_create(name, with_command, validate_only).await?;
        types.insert(name, found);
    }
    let (mut violations, at) = (Violations::new(), At::REQUEST.field("workflow"));
    for task in new.flow.tasks() {
        let of_type = types.get(&task.task_type);
        of_type.into_iter().for_each(|of_type| task.check_against(of_type, at, &mut violations));
    }
    violations.none()?;
    if validate_only {
        return Ok(v1::CreateWorkflowResponse::default());
    }
    let created = match broker.store.create_workflow(&new).await {
        Ok(created) => created,
        Err(CreateWorkflowError::RequestIdReused(id)) => {
            return Err(RpcError::WorkflowRequestIdReused(id));
        }
        Err(CreateWorkflowError::Store(error)) => return Err(error.into()),
    };
    broker.dispatch.note(created.made.iter());
    Ok(v1::CreateWorkflowResponse {
        workflow: Some(convert::workflow::to_proto(created.workflow)),
        deduplicated: created.deduplicated,
    })
}

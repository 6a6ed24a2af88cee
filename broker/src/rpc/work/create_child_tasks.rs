//! CreateChildTasks: a running task makes tasks of its own.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::TaskId,
    limits::CHILDREN_KEY_BYTES_MAX,
    task::FullTask,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{CreateChildrenError, Parts};

use super::list_child_tasks::held;
use crate::{broker::Broker, convert, error::RpcError, settle::refused};

pub async fn create_child_tasks(
    broker: &Broker,
    request: v1::CreateChildTasksRequest,
) -> Result<v1::CreateChildTasksResponse, RpcError> {
    let (mut violations, at) = (Violations::new(), At::REQUEST);
    let lease = convert::work::lease(request.lease.as_ref(), at.field("lease"), &mut violations);
    text::token(&request.key, CHILDREN_KEY_BYTES_MAX, at.field("key"), &mut violations);
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;
    let FullTask { task, .. } = held(broker, &session, &lease, Parts::NONE).await?;

    let now_ms = broker.store.now_ms().await?;
    let call = convert::workflow::Call { user: &task.user, trace_id: &task.trace_id, now_ms };
    let mut violations = Violations::new();
    let key = request.key.clone();
    let new = convert::workflow::children(request, call, at, &mut violations);
    let new = violations.ok_or(new)?;
    let mut types = BTreeMap::new();
    for (name, with_command) in new.flow.task_types() {
        let found = broker.task_type_for_create(name, with_command, false).await?;
        types.insert(name.clone(), found);
    }
    let mut violations = Violations::new();
    for child in new.flow.tasks() {
        child.check_against(&types[&child.task_type], at.field("tasks"), &mut violations);
    }
    violations.none()?;

    let fence = session.fence(lease.attempt);
    let created = broker.store.create_children(&lease.id, fence, &key, &new).await;
    let created = created.map_err(|error| not_created(&lease.id, error))?;
    broker.dispatch.note(created.made.iter());
    Ok(v1::CreateChildTasksResponse {
        workflow: Some(convert::workflow::to_proto(created.workflow)),
        deduplicated: created.deduplicated,
    })
}

fn not_created(parent: &TaskId, error: CreateChildrenError) -> RpcError {
    match error {
        CreateChildrenError::Parent(error) => refused(parent, error),
        CreateChildrenError::KeyReused(id) => RpcError::WorkflowRequestIdReused(id),
    }
}

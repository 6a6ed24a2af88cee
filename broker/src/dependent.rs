//! Tasks that do not stand alone: those that wait for something come by themselves, those with
//! callbacks as a small workflow. Neither joins a batch.

use std::collections::BTreeMap;

use asyncflow_core::{
    create::{NewTask, Predecessor},
    id::{TaskId, TypeName},
    state::TaskState,
    task_type::TaskType,
    validate::at::At,
    violation::Violations,
    workflow::{
        callbacks::{self, TASK_NODE},
        definition::{Flow, NewWorkflow},
    },
};
use asyncflow_store::{
    Create, CreateWaitingError, CreateWorkflowError, CreatedWorkflow, InsertError, Inserted,
    ItemIs, Parts,
};

use crate::{
    batch::BatchError,
    broker::Broker,
    error::RpcError,
    rpc::task::{create_task::confirmed, get},
};

/// The checks of callbacks that depend on their task types, which are made if that may be.
pub async fn check_callbacks(
    broker: &Broker,
    new: &NewTask,
    validate_only: bool,
    at: At<'_>,
    violations: &mut Violations,
) -> Result<(), RpcError> {
    let mut types: BTreeMap<TypeName, TaskType> = BTreeMap::new();
    let callbacks = &new.callbacks;
    let kinds = [
        ("on_success", &callbacks.on_success),
        ("on_error", &callbacks.on_error),
        ("on_cancel", &callbacks.on_cancel),
    ];
    for (field, tasks) in kinds {
        let list = at.field(field);
        for (index, task) in tasks.iter().enumerate() {
            // Its own callbacks stand in its flow.
            let flow = Flow { nodes: callbacks::flow(task.clone()).nodes, ..Flow::default() };
            for (name, with_command) in flow.task_types() {
                if !types.get(name).is_some_and(|known| known.has_commands || !with_command) {
                    let found =
                        broker.task_type_for_create(name, with_command, validate_only).await?;
                    types.insert(name.clone(), found);
                }
            }
            for task in flow.tasks() {
                task.check_against(&types[&task.task_type], list.item(index), violations);
            }
        }
    }
    Ok(())
}

/// Whether tasks may wait for what they name. It is looked at again when they are created, but by
/// then others of their batch are there.
pub async fn check_predecessors(
    broker: &Broker,
    news: impl Iterator<Item = &NewTask>,
) -> Result<(), RpcError> {
    let after: Vec<Predecessor> = news.flat_map(|new| new.after.iter().cloned()).collect();
    let ids: Vec<TaskId> = after.iter().map(|predecessor| predecessor.id.clone()).collect();
    let found = broker.store.get_many(&ids, Parts::NONE).await?;
    for (Predecessor { id, any_end }, found) in after.iter().zip(found) {
        let Some(full) = found else {
            return Err(RpcError::InVain(format!("there is no task {id} to wait for")));
        };
        let state = full.task.state;
        if state.is_terminal() && state != TaskState::Succeeded && !any_end {
            let what = format!("task {id}, which it waits for, is {state}");
            return Err(RpcError::InVain(what));
        }
    }
    Ok(())
}

/// Creates tasks, in their order: those that stand alone in one batch, the others behind it.
pub async fn create_all(
    broker: &Broker,
    creates: Vec<Create>,
) -> Result<Vec<Result<Inserted, RpcError>>, BatchError> {
    let plain = creates.iter().filter(|create| create.new.is_plain()).cloned().collect::<Vec<_>>();
    let mut inserted = match plain.is_empty() {
        true => Vec::new().into_iter(),
        false => broker.ingest.create(plain).await?.into_iter(),
    };
    let mut answers = Vec::with_capacity(creates.len());
    for create in creates {
        answers.push(if create.new.is_plain() {
            let answer = inserted.next().ok_or(BatchError::Broken)?;
            confirmed(broker, &create.new, answer).await
        } else {
            Box::pin(create_one(broker, &create)).await
        });
    }
    Ok(answers)
}

async fn create_one(broker: &Broker, create: &Create) -> Result<Inserted, RpcError> {
    if create.new.callbacks != Default::default() {
        check_predecessors(broker, std::iter::once(&create.new)).await?;
        return with_callbacks(broker, &create.new).await;
    }
    match broker.store.create_waiting(create).await {
        Ok(inserted) => {
            broker.dispatch.note([&inserted.task].into_iter());
            Ok(inserted)
        }
        Err(CreateWaitingError::InVain(what)) => Err(RpcError::InVain(what)),
        Err(CreateWaitingError::Insert(error)) => {
            confirmed(broker, &create.new, Err::<Inserted, InsertError>(error)).await
        }
    }
}

/// The answer is the task itself, which is the first node of its workflow.
async fn with_callbacks(broker: &Broker, new: &NewTask) -> Result<Inserted, RpcError> {
    // A request id is that of a workflow here; it may be that of a task already.
    if let Some(request_id) = &new.request_id
        && let Some(id) = broker.store.find_request(&new.user, request_id).await?
    {
        return Err(RpcError::RequestIdReused(id));
    }
    // Those of the workflow are its tasks'.
    let (user, trace_id) = Default::default();
    let task = NewTask { user, trace_id, request_id: None, ..new.clone() };
    let new = NewWorkflow {
        user: new.user.clone(),
        name: new.name.clone(),
        labels: new.labels.clone(),
        input: Default::default(),
        request_id: new.request_id.clone(),
        trace_id: new.trace_id.clone(),
        flow: callbacks::flow(task),
    };
    let created = match broker.store.create_workflow(&new).await {
        Ok(created) => created,
        Err(CreateWorkflowError::RequestIdReused(id)) => {
            return Err(RpcError::WorkflowRequestIdReused(id));
        }
        Err(CreateWorkflowError::Store(error)) => return Err(error.into()),
    };
    broker.dispatch.note(created.made.iter());
    let CreatedWorkflow { workflow, deduplicated, made } = created;
    let of_task = |task: &&asyncflow_core::task::Task| {
        task.member.is_some_and(|member| (member.workflow, member.node) == (workflow.id, TASK_NODE))
    };
    if let Some(task) = made.iter().find(of_task) {
        return Ok(Inserted { task: task.clone(), deduplicated, handed: None });
    }
    let items = broker.store.list_workflow_items(workflow.id, Some(TASK_NODE), None, 1).await?;
    match items.into_iter().next().map(|item| item.is) {
        Some(ItemIs::Task(id, _)) => {
            let task = get(broker, &id, Parts::NONE).await?.task;
            Ok(Inserted { task, deduplicated, handed: None })
        }
        // It could not be made, and its workflow says why.
        _ => Err(RpcError::InVain(workflow.message.unwrap_or_default())),
    }
}

//! Tasks that do not stand alone: those that wait for something come by themselves, those with
//! callbacks as a small workflow. Neither joins a batch.

use std::collections::BTreeMap;

use asyncflow_core::{
    create::NewTask,
    id::TypeName,
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
            for task in flow.tasks() {
                let name = &task.task_type;
                if !types.contains_key(name) {
                    let found = broker.task_type_for_create(name, validate_only).await?;
                    types.insert(name.clone(), found);
                }
                task.check_against(&types[name], list.item(index), violations);
            }
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

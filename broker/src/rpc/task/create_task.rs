//! CreateTask: check everything → may the caller → the type → the batch that is open now.

use std::sync::Arc;

use asyncflow_core::{
    access::Principal,
    create::NewTask,
    id::TaskId,
    task::FullTask,
    task_type::TaskType,
    validate::{at::At, new_task},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{Create, InsertError, InsertRefusal, Inserted, Parts};

use super::get;
use crate::{
    batch::BatchError,
    broker::Broker,
    convert,
    dependent::{check_callbacks, create_all},
    error::RpcError,
    ingest::InsertResult,
    principal::permit_user,
};

pub async fn create_task(
    broker: &Broker,
    caller: &Principal,
    trace_id: &str,
    request: v1::CreateTaskRequest,
) -> Result<v1::CreateTaskResponse, RpcError> {
    let validate_only = request.validate_only;
    let now_ms = broker.store.now_ms().await?;
    let create = checked(broker, caller, trace_id, request, now_ms).await?;
    let new = create.new.clone();
    if validate_only {
        return Ok(preview(new, &create.task_type, now_ms));
    }
    let created = create_all(broker, vec![create]).await?.pop().ok_or(BatchError::Closed)??;
    Ok(response(new, created))
}

/// A request that may be inserted: its fields, the caller, the type and its limits.
pub async fn checked(
    broker: &Broker,
    caller: &Principal,
    trace_id: &str,
    request: v1::CreateTaskRequest,
    now_ms: i64,
) -> Result<Create, RpcError> {
    let validate_only = request.validate_only;
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let input = convert::new_task::input(request, &caller.user, trace_id, at, &mut violations);
    let new = new_task::new_task(input, at, now_ms, &mut violations);
    let new = violations.ok_or(new)?;

    permit_user(caller, &new.user)?;
    let (name, with_command) = (&new.task_type, new.payload.is_command());
    let task_type = broker.task_type_for_create(name, with_command, validate_only).await?;
    let mut violations = Violations::new();
    let at = at.field("task");
    new.check_against(&task_type, at, &mut violations);
    check_callbacks(broker, &new, validate_only, at, &mut violations).await?;
    violations.none()?;
    Ok(Create { new, task_type: Arc::new(task_type) })
}

/// An error past COMMIT says nothing about the outcome; with a request id it can be read back.
pub async fn confirmed(
    broker: &Broker,
    new: &NewTask,
    answer: InsertResult,
) -> Result<Inserted, RpcError> {
    let error = match answer {
        Ok(inserted) => return Ok(inserted),
        Err(InsertError::Refused(InsertRefusal::RequestIdReused { task_id })) => {
            return Err(RpcError::RequestIdReused(task_id));
        }
        Err(InsertError::Refused(InsertRefusal::Gone { task_id: id, expired })) => {
            return Err(match expired {
                Some(archive) => RpcError::Expired { id, archive },
                None => RpcError::Deleted(id),
            });
        }
        Err(InsertError::Store(error)) => error,
    };
    let Some(request_id) = new.request_id.as_ref().filter(|_| error.is_outcome_unknown()) else {
        return Err(error.into());
    };
    let found: Option<TaskId> =
        broker.store.find_request(&new.user, request_id).await.map_err(|_| error.clone())?;
    match found {
        Some(id) => {
            let task = get(broker, &id, Parts::NONE).await?.task;
            Ok(Inserted { task, deduplicated: false, handed: None })
        }
        None => Err(error.into()),
    }
}

/// The answer holds everything that was asked for, without reading it back.
pub fn response(new: NewTask, inserted: Inserted) -> v1::CreateTaskResponse {
    let mut task = convert::task::basic(inserted.task);
    task.labels = new.labels;
    let (payload, command) = convert::task::payload(new.payload);
    (task.payload, task.command) = (payload, command);
    // A task that was created earlier may have moved its context on since.
    if !inserted.deduplicated {
        task.context = convert::task::content(new.context);
    }
    v1::CreateTaskResponse { task: Some(task), deduplicated: inserted.deduplicated }
}

/// The answer of a call that only checks: the task that would be made, without id and times.
pub fn preview(new: NewTask, task_type: &TaskType, now_ms: i64) -> v1::CreateTaskResponse {
    let shard = asyncflow_core::id::ShardId { task_type: new.task_type.clone(), number: 1 };
    let full: FullTask = new.into_task(task_type, TaskId { shard, key: 0 }, now_ms);
    let mut task = convert::task::full(full);
    (task.id, task.etag) = (String::new(), String::new());
    (task.create_time, task.update_time) = (None, None);
    v1::CreateTaskResponse { task: Some(task), deduplicated: false }
}

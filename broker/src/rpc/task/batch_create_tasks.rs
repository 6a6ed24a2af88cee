//! BatchCreateTasks: as CreateTask, all or nothing. One bad item fails the call before anything is
//! written; the good ones are written in one transaction, and those that do not stand alone behind
//! it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use asyncflow_core::{
    access::Principal,
    id::TypeName,
    validate::{at::At, new_task},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Create;

use super::create_task::{preview, response};
use crate::{
    broker::Broker,
    convert,
    dependent::{check_callbacks, check_predecessors, create_all},
    error::RpcError,
    principal::permit_user,
};

pub async fn batch_create_tasks(
    broker: &Broker,
    caller: &Principal,
    trace_id: &str,
    request: v1::BatchCreateTasksRequest,
) -> Result<v1::BatchCreateTasksResponse, RpcError> {
    let now_ms = broker.store.now_ms().await?;
    let requests = At::REQUEST.field("requests");

    let mut violations = Violations::new();
    let only_checks = request.requests.iter().filter(|one| one.validate_only).count();
    if only_checks != 0 && only_checks != request.requests.len() {
        violations.add(requests, "validate_only must be set in all of them or in none");
    }
    let mut inputs = Vec::with_capacity(request.requests.len());
    for (index, one) in request.requests.into_iter().enumerate() {
        let at = requests.item(index);
        inputs.push(convert::new_task::input(one, &caller.user, trace_id, at, &mut violations));
    }
    let news = violations.joined(new_task::new_tasks(inputs, now_ms))?;

    let with_command: HashSet<&TypeName> =
        news.iter().filter(|new| new.payload.is_command()).map(|new| &new.task_type).collect();
    let mut types = HashMap::new();
    let mut violations = Violations::new();
    for (index, new) in news.iter().enumerate() {
        permit_user(caller, &new.user)?;
        if !types.contains_key(&new.task_type) {
            let (name, with_command) = (&new.task_type, with_command.contains(&new.task_type));
            let found = broker.task_type_for_create(name, with_command, only_checks > 0).await?;
            types.insert(name.clone(), Arc::new(found));
        }
        let at = requests.item(index);
        let at = at.field("task");
        new.check_against(&types[&new.task_type], at, &mut violations);
        check_callbacks(broker, new, only_checks > 0, at, &mut violations).await?;
    }
    violations.none()?;

    if only_checks > 0 {
        let each = news.into_iter().map(|new| {
            let task_type = Arc::clone(&types[&new.task_type]);
            preview(new, &task_type, now_ms)
        });
        return Ok(v1::BatchCreateTasksResponse { responses: each.collect() });
    }
    check_predecessors(broker, news.iter()).await?;
    let creates = news
        .iter()
        .map(|new| Create { new: new.clone(), task_type: Arc::clone(&types[&new.task_type]) });
    let answers = create_all(broker, creates.collect()).await?;
    let mut responses = Vec::with_capacity(news.len());
    for (new, answer) in news.into_iter().zip(answers) {
        responses.push(response(new, answer?));
    }
    Ok(v1::BatchCreateTasksResponse { responses })
}

//! ListChildTasks: what a task has made, with results.

use std::collections::HashMap;

use asyncflow_core::{
    digest,
    filter::Filter,
    id::TaskId,
    limits::CHILDREN_KEY_BYTES_MAX,
    page::{self, PagePosition},
    task::FullTask,
    transition::Refusal,
    validate::{at::At, list, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{ItemIs, Parts};

use crate::{
    broker::Broker,
    convert::{self, work::Lease},
    error::RpcError,
    rpc::task::get,
    session::Session,
};

/// A result may have 64 KiB, and a message 8 MiB by default: a page of the largest is half of one.
const PAGE_MAX: u32 = 64;
/// What is shown of a child.
const RESULTS: Parts = Parts { result: true, ..Parts::LABELS };

/// The task of a lease that is in force.
pub async fn held(
    broker: &Broker,
    session: &Session,
    lease: &Lease,
    parts: Parts,
) -> Result<FullTask, RpcError> {
    let full = get(broker, &lease.id, parts).await?;
    let task = &full.task;
    if task.attempt != lease.attempt || !task.state.is_leased() {
        let (given, in_force) = (lease.attempt, task.attempt);
        return Err(Refusal::LeaseLost { given, in_force }.into());
    }
    if task.holder.session_id != session.id {
        return Err(Refusal::NotYourLease.into());
    }
    Ok(full)
}

pub async fn list_child_tasks(
    broker: &Broker,
    request: v1::ListChildTasksRequest,
) -> Result<v1::ListChildTasksResponse, RpcError> {
    let (mut violations, at) = (Violations::new(), At::REQUEST);
    let lease = convert::work::lease(request.lease.as_ref(), at.field("lease"), &mut violations);
    text::token(&request.key, CHILDREN_KEY_BYTES_MAX, at.field("key"), &mut violations);
    let limit = list::page_size(request.page_size, &mut violations).unsigned_abs().min(PAGE_MAX);
    let of = format!("{}/{}", lease.as_ref().map(|l| l.id.to_string()).unwrap_or_default(), {
        &request.key
    });
    let list = digest::list("ListChildTasks", &of, &Filter::default());
    let after = page::check(&request.page_token, list, &mut violations);
    let lease = violations.ok_or(lease)?;
    let session = broker.sessions.get(&request.session_id).await?;
    let parent = held(broker, &session, &lease, Parts::NONE).await?.task;

    let found = broker.store.find_children(&parent, &request.key).await?;
    let none = || RpcError::field("key", format!("{} has made nothing under it", lease.id));
    let workflow = found.ok_or_else(none)?;
    let names = broker.store.workflow_node_names(workflow.id).await?.unwrap_or_default();
    let after = after.map(|position| position.key);
    let mut items = broker.store.list_workflow_items(workflow.id, None, after, limit + 1).await?;
    let is_last = items.len() <= limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| !is_last)
        .map(|last| PagePosition { key: last.member.place(), ..PagePosition::default() });

    let ids: Vec<TaskId> = items.iter().filter_map(|item| of_task(&item.is)).collect();
    let tasks = broker.store.get_many(&ids, RESULTS).await?.into_iter().flatten();
    let mut tasks: HashMap<TaskId, FullTask> =
        tasks.map(|full| (full.task.id.clone(), full)).collect();
    let child = |item: asyncflow_store::WorkflowItem| v1::ChildTask {
        node: names.get(item.member.node as usize).cloned().unwrap_or_default(),
        index: i32::try_from(item.member.item).unwrap_or(i32::MAX),
        task: of_task(&item.is).and_then(|id| tasks.remove(&id)).map(convert::task::full),
    };
    Ok(v1::ListChildTasksResponse {
        children: items.into_iter().map(child).collect(),
        workflow: Some(convert::workflow::to_proto(workflow)),
        next_page_token: next.map(|next| page::encode(&next, list)).unwrap_or_default(),
    })
}

fn of_task(is: &ItemIs) -> Option<TaskId> {
    match is {
        ItemIs::Task(id, _) => Some(id.clone()),
        ItemIs::Workflow(_) => None,
    }
}

//! ExplainTask: why a task is where it is. What there is is gathered here; what follows from it is
//! the core's.

use std::collections::{BTreeSet, HashMap};

use asyncflow_core::{
    explain::{Ahead, Host, Subject, explain, is_impossible},
    id::TaskId,
    resources::Resources,
    state::TaskState,
    task::Task,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostRow, Parts, WaitingAhead};

use super::alive_from_ms;
use crate::{
    broker::Broker,
    convert,
    error::RpcError,
    rpc::{task, task_id},
};

/// Tasks before it that are counted.
const AHEAD_MAX: u32 = 1_000;
/// Kinds of needs of theirs of which it is found out whether any host could meet them.
const NEEDS_MAX: usize = 100;
/// Tasks on hosts whose users and needs are looked up.
const RUNNING_MAX: usize = 20_000;
/// Things that it waits for which are told.
const WAITS_MAX: u32 = 200;
/// Hosts that are looked at, and in one step.
const HOSTS_MAX: usize = 1_000;
const PAGE: u32 = 200;

pub async fn explain_task(
    broker: &Broker,
    request: v1::ExplainTaskRequest,
) -> Result<v1::ExplainTaskResponse, RpcError> {
    let id = task_id(&request.task_id, "task_id")?;
    let parts = Parts { payload: true, ..Parts::LABELS };
    let mut full = task::get(broker, &id, parts).await?;
    let is_command = std::mem::take(&mut full.body.payload).is_command();
    let of = &full.task;
    let task_type = broker.store.get_type(id.task_type()).await?;
    let waits_for = match of.is_blocked() {
        true => broker.store.waits_of(&id, WAITS_MAX).await?,
        false => Vec::new(),
    };
    let is_pending = of.state == TaskState::Pending;
    let hosts = hosts(broker, of, is_command).await?;
    let ahead = match is_pending {
        true => Some(ahead(of, &broker.store.waiting_ahead(of, AHEAD_MAX).await?, &hosts)),
        false => None,
    };
    let holds = match is_pending && of.resources.as_deref().is_some_and(Resources::uses_gpus) {
        true => broker.dispatch.holds().await?,
        false => Vec::new(),
    };
    let subject = Subject {
        task: of,
        now_ms: broker.store.now_ms().await?,
        is_type_paused: task_type.is_some_and(|task_type| task_type.paused),
        hosts: &hosts,
        ahead,
        waits_for: &waits_for,
        holds: &holds,
    };
    let explained = explain(&subject);
    Ok(v1::ExplainTaskResponse {
        queue_position: match ahead {
            Some(Ahead::Exactly(count)) => Some(count.cast_signed()),
            Some(Ahead::AtLeast(_)) | None => None,
        },
        task: Some(convert::task::listed(full)),
        ..convert::explain::to_proto(explained)
    })
}

/// How many are taken before it. One that no host could ever run is not, and stays where it is.
fn ahead(task: &Task, waiting: &[WaitingAhead], hosts: &[Host]) -> Ahead {
    let (mut before, mut looked_at, mut looks) = (0, 0, 0);
    for WaitingAhead { resources, count } in waiting {
        looked_at += count;
        let needs = resources.as_ref().filter(|needs| needs.is_needy());
        let stays = needs.is_some_and(|needs| {
            looks += 1;
            looks <= NEEDS_MAX && is_impossible(task.id.task_type(), needs, hosts)
        });
        before += if stays { 0 } else { *count };
    }
    if looked_at < AHEAD_MAX { Ahead::Exactly(before) } else { Ahead::AtLeast(before) }
}

/// The hosts that are in question.
async fn hosts(broker: &Broker, task: &Task, is_command: bool) -> Result<Vec<Host>, RpcError> {
    if task.state.is_leased() {
        let row = broker.store.get_host(&task.holder.worker_id).await?;
        return seen(broker, row.into_iter().collect(), is_command).await;
    }
    if task.state != TaskState::Pending {
        return Ok(Vec::new());
    }
    let mut hosts: Vec<Host> = Vec::new();
    let mut after: Option<String> = None;
    while hosts.len() < HOSTS_MAX {
        let rows = broker.store.list_hosts(after.as_deref(), PAGE).await?;
        let is_last = rows.len() < PAGE as usize;
        after = rows.last().map(|row| row.worker.registration.worker_id.clone());
        hosts.extend(seen(broker, rows, is_command).await?);
        if is_last {
            break;
        }
    }
    let away = absent(broker, &hosts).await?;
    hosts.extend(away);
    if task.is_needy() {
        fill_in(broker, &mut hosts).await?;
    }
    Ok(hosts)
}

async fn seen(
    broker: &Broker,
    rows: Vec<HostRow>,
    is_command: bool,
) -> Result<Vec<Host>, RpcError> {
    let id = |row: &HostRow| row.worker.registration.worker_id.clone();
    let ids: Vec<String> = rows.iter().map(id).collect();
    let orders = broker.store.list_orders(&ids).await?;
    let alive_from_ms = alive_from_ms(broker).await?;
    let of = |row: HostRow| {
        let orders = orders.get(&id(&row)).map(Vec::as_slice).unwrap_or_default();
        convert::explain::host(row, orders, is_command, alive_from_ms)
    };
    Ok(rows.into_iter().map(of).collect())
}

/// Hosts that are closed, and whose workers are away: all but those that are there.
async fn absent(broker: &Broker, there: &[Host]) -> Result<Vec<Host>, RpcError> {
    let there: BTreeSet<&String> = there.iter().map(|host| &host.worker_id).collect();
    let mut ids = broker.store.list_host_ids(None, HOSTS_MAX as u32).await?;
    ids.retain(|id| !there.contains(id));
    let orders = broker.store.list_orders(&ids).await?.into_iter();
    let closed = orders.filter(|(_, orders)| orders.iter().any(|order| order.name.closes()));
    Ok(closed.map(|(id, orders)| convert::explain::absent(&id, &orders)).collect())
}

/// Whose the tasks on hosts are, and what they have there, is told by the tasks.
async fn fill_in(broker: &Broker, hosts: &mut [Host]) -> Result<(), RpcError> {
    let reports = hosts.iter().filter_map(|host| host.report.as_ref());
    let running = reports.flat_map(|report| &report.running).take(RUNNING_MAX);
    let ids: BTreeSet<&String> = running.map(|one| &one.task_id).collect();
    let ids: Vec<TaskId> = ids.into_iter().filter_map(|id| id.parse().ok()).collect();
    let found = broker.store.get_many(&ids, Parts::NONE).await?;
    let tasks = found.into_iter().flatten().map(|full| (full.task.id.to_string(), full.task));
    let tasks: HashMap<String, Task> = tasks.collect();
    hosts.iter_mut().for_each(|host| convert::explain::fill_in(host, &tasks));
    Ok(())
}

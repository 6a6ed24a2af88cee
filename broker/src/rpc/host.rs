//! Verbs on hosts.

pub mod evict_gpu;
pub mod explain_task;
pub mod hand_over_task;
pub mod list_hosts;
pub mod list_usage;
pub mod update_gpu;
pub mod update_gpu_process;
pub mod update_host;

use std::collections::HashMap;

use asyncflow_core::{
    host::OrderName,
    id::TaskId,
    limits::{GPU_UUID_BYTES_MAX, WORKER_ID_BYTES_MAX},
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostOrder, HostRow, Parts, StoreError};

use crate::{broker::Broker, convert, error::RpcError};

/// Tasks on hosts whose users and names are told in one answer.
const NAMED_MAX: usize = 20_000;
/// A worker is alive when it was heard of within so many heartbeats.
const ALIVE_HEARTBEATS: i64 = 3;

/// The worker and the GPU that a request names.
fn gpu_of(worker_id: &str, uuid: &str) -> Violations {
    let mut violations = worker_of(worker_id);
    let at = At::REQUEST.field("uuid");
    text::required_line(uuid, GPU_UUID_BYTES_MAX, at, &mut violations);
    violations
}

/// The worker that a request names.
fn worker_of(worker_id: &str) -> Violations {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("worker_id");
    text::token(worker_id, WORKER_ID_BYTES_MAX, at, &mut violations);
    violations
}

/// Reads a host that must be there, with what it last told.
async fn get(broker: &Broker, worker_id: &str) -> Result<(HostRow, v1::HostReport), RpcError> {
    let row = broker.store.get_host(worker_id).await?;
    let row = row.ok_or_else(|| RpcError::HostNotFound(worker_id.to_owned()))?;
    let report = convert::host::decode(&row).unwrap_or_default();
    Ok((row, report))
}

/// The GPU of a report.
fn find_gpu<'a>(
    report: &'a v1::HostReport,
    worker_id: &str,
    uuid: &str,
) -> Result<&'a v1::Gpu, RpcError> {
    let found = report.gpus.iter().find(|gpu| gpu.uuid == uuid);
    found.ok_or_else(|| RpcError::GpuNotFound(worker_id.to_owned(), uuid.to_owned()))
}

/// What is wanted of a host.
async fn orders(broker: &Broker, worker_id: &str) -> Result<Vec<HostOrder>, StoreError> {
    let mut orders = broker.store.list_orders(&[worker_id.to_owned()]).await?;
    Ok(orders.remove(worker_id).unwrap_or_default())
}

/// Changes what is wanted of a GPU, whatever somebody else changes at the same moment.
async fn change_gpu(
    broker: &Broker,
    worker_id: &str,
    uuid: &str,
    change: impl Fn(v1::GpuOrder) -> v1::GpuOrder + Send + Sync,
) -> Result<(), RpcError> {
    let name = OrderName::Gpu(uuid.to_owned());
    let body = |before: Option<&[u8]>| convert::host_order::changed_gpu(uuid, before, &change);
    match broker.store.change_order(worker_id, &name, body).await {
        Err(StoreError::NotFound) => Err(RpcError::HostNotFound(worker_id.to_owned())),
        changed => Ok(changed?),
    }
}

/// A host after it was changed, which its session has to know at once.
async fn changed(broker: &Broker, worker_id: &str) -> Result<v1::Host, RpcError> {
    let (row, _) = get(broker, worker_id).await?;
    broker.sessions.forget(row.worker.session_id);
    let mut hosts = told(broker, vec![row]).await?;
    hosts.pop().ok_or_else(|| RpcError::HostNotFound(worker_id.to_owned()))
}

/// Hosts whose workers are away, by their ids: what is wanted of them is all that there is.
async fn absent(
    broker: &Broker,
    ids: Vec<String>,
) -> Result<impl Iterator<Item = (String, v1::Host)>, StoreError> {
    let mut orders = broker.store.list_orders(&ids).await?;
    Ok(ids.into_iter().map(move |id| {
        let host = convert::host::absent(&id, &orders.remove(&id).unwrap_or_default());
        (id, host)
    }))
}

/// From when on somebody must have been heard of to be alive.
async fn alive_from_ms(broker: &Broker) -> Result<i64, StoreError> {
    let silence_ms = ALIVE_HEARTBEATS * broker.config.lease.heartbeat_interval_ms;
    Ok(broker.store.now_ms().await? - silence_ms)
}

/// Hosts with their orders, and with whose the tasks are that run there.
async fn told(broker: &Broker, rows: Vec<HostRow>) -> Result<Vec<v1::Host>, RpcError> {
    let ids: Vec<String> =
        rows.iter().map(|row| row.worker.registration.worker_id.clone()).collect();
    let mut orders = broker.store.list_orders(&ids).await?;
    let alive_from_ms = alive_from_ms(broker).await?;
    let hosts = rows.into_iter().map(|row| {
        let orders = orders.remove(&row.worker.registration.worker_id).unwrap_or_default();
        convert::host::to_proto(row, &orders, alive_from_ms)
    });
    let mut hosts: Vec<v1::Host> = hosts.collect();
    name_running(broker, &mut hosts).await?;
    Ok(hosts)
}

async fn name_running(broker: &Broker, hosts: &mut [v1::Host]) -> Result<(), StoreError> {
    let running = || hosts.iter().filter_map(|host| host.report.as_ref());
    let running = running().flat_map(|report| &report.running).take(NAMED_MAX);
    let ids: Vec<TaskId> = running.filter_map(|one| one.task_id.parse().ok()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let found = broker.store.get_many(&ids, Parts::NONE).await?;
    let tasks = found.into_iter().flatten().map(|full| (full.task.id.to_string(), full.task));
    let tasks: HashMap<String, _> = tasks.collect();
    for host in hosts {
        for one in host.report.iter_mut().flat_map(|report| &mut report.running) {
            if let Some(task) = tasks.get(&one.task_id) {
                convert::host::name_running(one, task);
            }
        }
    }
    Ok(())
}

//! Orders about tasks: to save what they need and stop, so that others have their place or another
//! host goes on with them.
//!
//! ```text
//!   order_tasks ─▶ host_orders ─▶ ring ─▶ StreamCommands: orders_changed ─▶ ReportHost ─▶ worker
//!                                          └ lost: the next report, seconds later ─┘
//! ```
//!
//! An order is about one attempt, and is forgotten when that has ended.

use asyncflow_core::{
    host::OrderName, id::TaskId, limits::MESSAGE_BYTES_MAX, task::Task, validate::text::cut,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostOrder, Parts, Store, StoreError};
use prost::Message;

/// What a task is told.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// PREEMPTED or HANDED_OVER.
    pub reason: v1::FailureReason,
    /// For people; cut at 1,024 bytes.
    pub message: String,
    /// Its next attempt goes to another host.
    pub elsewhere: bool,
    /// Its context after that, unless it says otherwise itself.
    pub context: Option<v1::Content>,
    pub room: Option<Room>,
}

/// What others are to have then.
#[derive(Clone, Debug)]
pub struct Room {
    pub for_task: TaskId,
    /// UUIDs of GPUs, also of those that are free already.
    pub gpus: Vec<String>,
}

/// Asks tasks that run to stop, each in the attempt that is in force now; all or none. The same
/// order about the same attempt replaces the one before.
///
/// # Errors
/// Those of the store.
pub async fn order_tasks(store: &Store, tasks: &[(Task, Request)]) -> Result<(), StoreError> {
    let orders = tasks.iter().map(|(task, request)| {
        let (id, attempt) = (task.id.clone(), task.attempt);
        let order = v1::TaskOrder {
            task_id: id.to_string(),
            attempt,
            reason: request.reason.into(),
            message: cut(&request.message, MESSAGE_BYTES_MAX),
            elsewhere: request.elsewhere,
            context: request.context.clone(),
            for_task_id: request
                .room
                .as_ref()
                .map_or_else(String::new, |room| room.for_task.to_string()),
            for_gpus: request.room.as_ref().map(|room| room.gpus.clone()).unwrap_or_default(),
        };
        let name = OrderName::Task { id, attempt };
        (task.holder.worker_id.clone(), name, order.encode_to_vec())
    });
    let orders: Vec<_> = orders.collect();
    if orders.is_empty() {
        return Ok(());
    }
    store.put_orders(&orders).await
}

/// Forgets what is done: orders about attempts that have ended, and about processes that the
/// report shows to be gone. Gives those that are left.
///
/// # Errors
/// Those of the store.
pub async fn prune(
    store: &Store,
    worker_id: &str,
    orders: Vec<HostOrder>,
    report: &v1::HostReport,
) -> Result<Vec<HostOrder>, StoreError> {
    let ids: Vec<_> = orders.iter().filter_map(|order| task_of(&order.name)).cloned().collect();
    let tasks = if ids.is_empty() { Vec::new() } else { store.get_many(&ids, Parts::NONE).await? };
    let runs = |name: &OrderName| {
        let OrderName::Task { id, attempt } = name else { return true };
        tasks.iter().flatten().any(|full| {
            full.task.id == *id && full.task.attempt == *attempt && full.task.state.is_leased()
        })
    };
    // While its driver does not answer, a worker reports no GPU, or not all of them.
    let is_gone = |name: &OrderName| {
        let OrderName::Process { gpu, pid } = name else { return false };
        let mut gpus = report.gpus.iter().filter(|known| known.uuid == *gpu);
        gpus.any(|known| !known.processes.iter().any(|process| process.pid == *pid))
    };
    let (kept, done): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|order| runs(&order.name) && !is_gone(&order.name));
    let done: Vec<OrderName> = done.into_iter().map(|order| order.name).collect();
    store.delete_orders(worker_id, &done).await?;
    Ok(kept)
}

fn task_of(name: &OrderName) -> Option<&TaskId> {
    match name {
        OrderName::Task { id, .. } => Some(id),
        _ => None,
    }
}

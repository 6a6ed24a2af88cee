//! Orders about tasks: to save what they need and stop, so that others have their place or another
//! host goes on with them.
//!
//! ```text
//!   order_tasks ─▶ host_orders ─▶ ring ─▶ StreamCommands: orders_changed ─▶ ReportHost ─▶ worker
//!                                          └ lost: the next report, seconds later ─┘
//! ```
//!
//! An order is about one attempt, and is done when that has ended. One by which it made room for
//! another task is remembered for a while longer: every broker is to know whose the room is.

use std::collections::HashMap;

use asyncflow_core::{
    host::OrderName, id::TaskId, limits::MESSAGE_BYTES_MAX, state::TaskState, task::Task,
    validate::text::cut,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostOrder, Parts, Store, StoreError};
use prost::Message;

/// So long the room that a task has left is kept for the one that it was made for.
pub const ROOM_MS: i64 = 60_000;

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

/// Forgets what is done: orders about attempts that have ended, unless others still wait for the
/// room, and about processes that the report shows to be gone. Gives those that are to be carried
/// out.
///
/// # Errors
/// Those of the store.
pub async fn prune(
    store: &Store,
    worker_id: &str,
    orders: Vec<HostOrder>,
    report: &v1::HostReport,
) -> Result<Vec<HostOrder>, StoreError> {
    let mut ids: Vec<TaskId> = orders.iter().filter_map(|order| task_of(&order.name)).collect();
    ids.extend(orders.iter().filter_map(|order| room(order)?.for_task_id.parse().ok()));
    let found = if ids.is_empty() { Vec::new() } else { store.get_many(&ids, Parts::NONE).await? };
    let tasks: HashMap<TaskId, Task> =
        found.into_iter().flatten().map(|full| (full.task.id.clone(), full.task)).collect();
    let runs = |name: &OrderName| {
        let OrderName::Task { id, attempt } = name else { return true };
        tasks.get(id).is_some_and(|task| task.attempt == *attempt && task.state.is_leased())
    };
    // While its driver does not answer, a worker reports no GPU, or not all of them.
    let is_gone = |name: &OrderName| {
        let OrderName::Process { gpu, pid } = name else { return false };
        let mut gpus = report.gpus.iter().filter(|known| known.uuid == *gpu);
        gpus.any(|known| !known.processes.iter().any(|process| process.pid == *pid))
    };
    let (kept, done): (Vec<_>, Vec<_>) =
        orders.into_iter().partition(|order| runs(&order.name) && !is_gone(&order.name));
    let now_ms = if done.is_empty() { 0 } else { store.now_ms().await? };
    let done = done.into_iter().filter(|order| !is_awaited(order, &tasks, now_ms));
    let done: Vec<OrderName> = done.map(|order| order.name).collect();
    store.delete_orders(worker_id, &done).await?;
    Ok(kept)
}

fn task_of(name: &OrderName) -> Option<TaskId> {
    match name {
        OrderName::Task { id, .. } => Some(id.clone()),
        _ => None,
    }
}

/// The order, if it is one by which a task makes room for another.
pub fn room(order: &HostOrder) -> Option<v1::TaskOrder> {
    task_of(&order.name)?;
    let order = v1::TaskOrder::decode(order.body.as_slice()).ok()?;
    (!order.for_task_id.is_empty()).then_some(order)
}

/// Whether a task that is done with made room for one that still waits, not long ago.
fn is_awaited(order: &HostOrder, tasks: &HashMap<TaskId, Task>, now_ms: i64) -> bool {
    let Some(room) = room(order) else { return false };
    let waits = |id: TaskId| tasks.get(&id).is_some_and(|task| task.state == TaskState::Pending);
    let has_left = |task: &&Task| task.attempt == room.attempt && !task.state.is_leased();
    let victim = task_of(&order.name).and_then(|id| tasks.get(&id)).filter(has_left);
    let left_ms = victim.map_or(order.create_time_ms, |task| task.update_time_ms);
    room.for_task_id.parse().is_ok_and(waits) && now_ms.saturating_sub(left_ms) < ROOM_MS
}

//! What a running task wants to wait for when it gives its slot back.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    event::{Event, Settle, Until},
    id::{ShardId, TaskId},
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::{
    rows::{CHILDREN, WaitRow, still_waiting},
    signal,
};
use crate::{
    Store,
    error::StoreError,
    shard::is_there,
    task::Batch,
    workflow::{has_ended_children, has_live_children, lock_root},
};

/// By the place of an event among those of its transaction.
pub(crate) type PendingWaits = BTreeMap<usize, PendingWait>;

/// What was found of what a task wants to wait for.
#[derive(Default)]
pub(crate) struct PendingWait {
    /// What of it is not there yet.
    pub rows: Vec<WaitRow>,
    /// The last of its children has ended since the attempt was handed out.
    pub is_news: bool,
}

/// Locks the tasks that want to wait, in the order of their ids, and then looks: whoever ends what
/// they have made, or signals them, takes the same lock after having written it.
pub(crate) async fn pending_waits<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    events: impl Iterator<Item = (&'a TaskId, &'a Event)> + Send,
) -> Result<PendingWaits, StoreError> {
    let mut asked: Vec<(&TaskId, usize, &Until)> = Vec::new();
    for (at, (id, event)) in events.enumerate() {
        if let Event::Settle { settle: Settle::Wait { until, .. }, .. } = event {
            asked.push((id, at, until));
        }
    }
    asked.sort_unstable_by_key(|(id, at, _)| (*id, *at));
    let mut pending = PendingWaits::new();
    for (id, at, until) in asked {
        pending.insert(at, look(store, tx, id, until).await?);
    }
    Ok(pending)
}

async fn look(
    store: &Store,
    tx: &DatabaseTransaction,
    id: &TaskId,
    until: &Until,
) -> Result<PendingWait, StoreError> {
    if !is_there(store, tx, &id.shard).await? {
        return Ok(PendingWait::default());
    }
    let (batch, _) = Batch::read(store, tx, &id.shard, vec![id.key], true).await?;
    let Some(task) = batch.task(id.key) else { return Ok(PendingWait::default()) };
    let live = until.children && has_live_children(store, tx, id).await?;
    let since_ms = task.claim_time_ms.unwrap_or_default();
    let is_news = until.children && !live && has_ended_children(store, tx, id, since_ms).await?;
    let own = id.to_string();
    let mut targets = vec![own.clone()];
    if let Some(member) = task.member.filter(|_| !until.signals.is_empty()) {
        targets.push(lock_root(store, tx, member.workflow).await?.to_string());
    }
    let come = signal::names(store, tx, &targets.iter().collect::<Vec<_>>()).await?;
    // A signal for the workflow reaches the task as well as one for itself.
    let awaited = targets.pop().unwrap_or_default();
    let missing = until.signals.iter().filter(|name| !come.contains(name));
    let signals = missing.map(|name| (awaited.clone(), name.clone()));
    let children = live.then(|| (own, CHILDREN.to_owned()));
    let row = |(awaited, name)| WaitRow { awaited, name, waiter: id.clone(), any_end: true };
    Ok(PendingWait { rows: signals.chain(children).map(row).collect(), is_news })
}

/// Those of these tasks, which are to run again, that were cancelled while they waited for
/// something that has not come since. Whoever begins anew in the middle of its work waits no more.
/// They are locked as above.
pub(crate) async fn waiting_again(
    store: &Store,
    tx: &DatabaseTransaction,
    retried: &BTreeMap<&TaskId, bool>,
) -> Result<BTreeSet<TaskId>, StoreError> {
    let mut by_shard: BTreeMap<&ShardId, Vec<i64>> = BTreeMap::new();
    for id in retried.keys() {
        by_shard.entry(&id.shard).or_default().push(id.key);
    }
    let mut waiting = BTreeSet::new();
    for (shard, keys) in by_shard {
        if is_there(store, tx, shard).await? {
            let (batch, _) = Batch::read(store, tx, shard, keys, true).await?;
            let goes_on = |task: &&Task| retried.get(&task.id) != Some(&true) || task.attempt == 0;
            waiting.extend(cancelled_waiting(store, tx, batch.tasks().filter(goes_on)).await?);
        }
    }
    Ok(waiting)
}

/// Those of these tasks, which are locked, that were cancelled while they waited for something that
/// has not come since.
pub(crate) async fn cancelled_waiting<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    tasks: impl Iterator<Item = &'a Task>,
) -> Result<BTreeSet<TaskId>, StoreError> {
    let cancelled = tasks.filter(|task| task.state == TaskState::Cancelled);
    let cancelled: Vec<&TaskId> = cancelled.map(|task| &task.id).collect();
    let waiting = still_waiting(store, tx, &cancelled).await?;
    let is_waiting = |id: &&TaskId| waiting.contains(&id.to_string());
    Ok(cancelled.into_iter().filter(is_waiting).cloned().collect())
}

//! What a running task wants to wait for when it gives its slot back.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::{Event, Settle, Until},
    id::TaskId,
};
use sea_orm::DatabaseTransaction;

use super::{
    rows::{CHILDREN, WaitRow},
    signal,
};
use crate::{
    Store,
    error::StoreError,
    shard::is_there,
    task::Batch,
    workflow::{lock_live_children, lock_root},
};

/// By task: what of it is not there yet.
pub(crate) type PendingWaits = BTreeMap<TaskId, Vec<WaitRow>>;

/// Locks what must not change until these tasks wait for it, and looks. Of several locks those on
/// what the task has made come first, then its own, then that on its workflow: whoever ends or
/// signals takes them in the same order.
pub(crate) async fn pending_waits(
    store: &Store,
    tx: &DatabaseTransaction,
    events: impl Iterator<Item = (&TaskId, &Event)> + Send,
) -> Result<PendingWaits, StoreError> {
    let mut pending = PendingWaits::new();
    for (id, event) in events {
        if let Event::Settle { settle: Settle::Wait { until, .. }, .. } = event {
            pending.insert(id.clone(), look(store, tx, id, until).await?);
        }
    }
    Ok(pending)
}

async fn look(
    store: &Store,
    tx: &DatabaseTransaction,
    id: &TaskId,
    until: &Until,
) -> Result<Vec<WaitRow>, StoreError> {
    let live = until.children && lock_live_children(store, tx, id).await?;
    if !is_there(store, tx, &id.shard).await? {
        return Ok(Vec::new());
    }
    let (batch, _) = Batch::read(store, tx, &id.shard, vec![id.key], true).await?;
    let Some(task) = batch.task(id.key) else { return Ok(Vec::new()) };
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
    Ok(signals.chain(children).map(row).collect())
}

//! What follows for originals when their twins end, in the transaction in which those do.

use std::collections::BTreeMap;

use asyncflow_core::{event::Event, id::TaskId, state::TaskState, task::Task};
use sea_orm::DatabaseTransaction;

use super::row::{self, Twin};
use crate::{
    Store,
    error::StoreError,
    ledger::Ledger,
    shard::is_there,
    task::{Batch, Parts},
};

/// How a twin has ended.
pub(crate) type TwinEnd = (TaskId, TaskState);

/// Notes how twins have ended; the originals of those that succeeded end with their results, unless
/// they have ended themselves. Answers those originals before and after it.
pub(crate) async fn overtake(
    store: &Store,
    tx: &DatabaseTransaction,
    ended: Vec<TwinEnd>,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Vec<(Task, Task)>, StoreError> {
    let ended: BTreeMap<TaskId, TaskState> = ended.into_iter().collect();
    let mut changes = Vec::new();
    for twin in row::of_twins(store, tx, ended.keys()).await? {
        let state = ended.get(&twin.twin).copied().unwrap_or(TaskState::Failed);
        row::note_end(store, tx, &twin.twin, state).await?;
        let batch = if is_there(store, tx, &twin.original.shard).await? {
            let keys = vec![twin.original.key];
            Batch::read(store, tx, &twin.original.shard, keys, true).await?.0
        } else {
            Batch::of(&twin.original.shard, [])
        };
        let Some(original) = batch.task(twin.original.key) else {
            // It was deleted, and left this behind.
            row::forget_twin(store, tx, &twin.twin).await?;
            continue;
        };
        let is_its_run = original.run == twin.run || store.is_off("twin.is_of_its_run");
        if state == TaskState::Succeeded && is_its_run {
            changes.extend(overtake_one(store, tx, &twin, batch, now_ms, ledger).await?);
        }
    }
    Ok(changes)
}

async fn overtake_one(
    store: &Store,
    tx: &DatabaseTransaction,
    Twin { original, twin, .. }: &Twin,
    mut batch: Batch,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Vec<(Task, Task)>, StoreError> {
    let parts = Parts { result: true, ..Parts::NONE };
    let result = row::read_full(store, tx, twin, parts).await?.and_then(|full| full.body.result);
    store.fault_point("twin.overtakes").await;
    let event = Event::Overtake { twin: twin.clone(), result };
    // One that has ended, or is not to, refuses, and so much the better.
    if batch.apply(original.key, &event, now_ms, ledger).is_err() {
        return Ok(Vec::new());
    }
    let changes: Vec<(Task, Task)> =
        batch.changes().map(|(before, after)| (before.clone(), after.clone())).collect();
    batch.write(store, tx).await?;
    Ok(changes)
}

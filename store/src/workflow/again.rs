//! The items of a node that is retried: those that did not succeed go on as the same tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, WorkflowId},
    state::TaskState,
    task::Task,
    workflow::progress::WorkflowState,
};
use sea_orm::DatabaseTransaction;

use super::{
    items::{self, Is},
    row,
};
use crate::{
    Store, condition::cancelled_waiting, error::StoreError, ledger::Ledger, shard::is_there,
    task::Batch,
};

/// Items per look.
const ITEMS_MAX: u32 = 1_000;

/// Which of a node's `count` items did not succeed.
pub(super) async fn items(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
    count: u32,
) -> Result<Vec<u32>, StoreError> {
    let succeeded: BTreeSet<u32> = (look(store, tx, id, node).await?.into_iter())
        .filter_map(|(item, (_, state))| (state == State::Succeeded).then_some(item))
        .collect();
    Ok((0..count).filter(|item| !succeeded.contains(item)).collect())
}

/// What those items are that can go on.
pub(super) async fn known(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
    again: &[u32],
) -> Result<BTreeMap<u32, Is>, StoreError> {
    let again: BTreeSet<u32> = again.iter().copied().collect();
    let known = look(store, tx, id, node).await?.into_iter();
    let known = known.filter(|(item, (_, state))| again.contains(item) && *state == State::Ended);
    Ok(known.map(|(item, (is, _))| (item, is)).collect())
}

/// How an item stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Succeeded,
    /// It failed or was cancelled.
    Ended,
    /// It is gone, or goes on already.
    Other,
}

/// Every item that was started, with what it is and how it stands.
async fn look(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
) -> Result<BTreeMap<u32, (Is, State)>, StoreError> {
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let page = items::list(store, tx, id, Some(node), after, ITEMS_MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.place());
        let mut by_shard: BTreeMap<ShardId, Vec<i64>> = BTreeMap::new();
        for (_, is) in &page {
            if let Is::Task(task) = is {
                by_shard.entry(task.shard.clone()).or_default().push(task.key);
            }
        }
        let mut tasks: BTreeMap<TaskId, TaskState> = BTreeMap::new();
        for (shard, keys) in by_shard {
            if is_there(store, tx, &shard).await? {
                let (batch, _) = Batch::read(store, tx, &shard, keys, false).await?;
                tasks.extend(batch.tasks().map(|task| (task.id.clone(), task.state)));
            }
        }
        for (member, is) in page {
            let state = match &is {
                Is::Task(task) => match tasks.get(task) {
                    Some(TaskState::Succeeded) => State::Succeeded,
                    Some(TaskState::Failed | TaskState::Cancelled) => State::Ended,
                    _ => State::Other,
                },
                Is::Workflow(child) => match row::find(store, tx, *child).await? {
                    Some(child) => match child.progress.state {
                        WorkflowState::Succeeded => State::Succeeded,
                        WorkflowState::Failed | WorkflowState::Cancelled => State::Ended,
                        _ => State::Other,
                    },
                    None => State::Other,
                },
            };
            found.insert(member.item, (is, state));
        }
    }
}

/// A task went between two looks.
#[derive(Debug, thiserror::Error)]
#[error("a task that is to run again is gone")]
struct Gone;

/// Opens new runs of tasks; answers them as they are then.
pub(super) async fn retry_tasks(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    keys: Vec<i64>,
    ledger: &mut Ledger,
) -> Result<Vec<Task>, StoreError> {
    let (mut batch, now_ms) = Batch::read(store, tx, shard, keys.clone(), true).await?;
    let mut retried = Vec::with_capacity(keys.len());
    let waiting = cancelled_waiting(store, tx, batch.tasks()).await?;
    for key in keys {
        let is_waiting = waiting.contains(&TaskId { shard: shard.clone(), key });
        let retry = Event::Retry { from_start: false, is_waiting };
        match batch.apply(key, &retry, now_ms, ledger) {
            Ok(Some(task)) => retried.push(task.clone()),
            // It went since it was looked at: the repetition makes another one.
            _ => return Err(StoreError::Contended(Arc::new(Gone))),
        }
    }
    batch.write(store, tx).await?;
    store.reopen(tx, shard, now_ms).await?;
    Ok(retried)
}

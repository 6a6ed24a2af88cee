//! Claims tasks by their ids: those that need more than a slot, each for the worker that it was
//! placed with.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncflow_core::{
    id::{ShardId, TaskId},
    placement::Placed,
    state::TaskState,
    task::FullTask,
};
use sea_orm::DatabaseTransaction;

use super::{
    acquires,
    claim::{Leased, Taker},
    row::{self, Parts},
    write::Batch,
};
use crate::{
    Store,
    backend::{for_update_skip, now_sql},
    error::StoreError,
    ledger::Ledger,
};

/// A task that is to be claimed, if it still is as it was when it was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedTask {
    pub id: TaskId,
    /// As it was read.
    pub revision: i64,
    /// Index into the request's takers.
    pub taker: usize,
    pub placed: Placed,
}

/// What is to be claimed, and for whom.
#[derive(Clone, Debug)]
pub struct PlaceRequest {
    pub takers: Vec<Taker>,
    pub tasks: Vec<PlacedTask>,
    /// Most bytes of payloads and contexts for a taker, unless its first task alone has more.
    pub bytes_max: usize,
    /// How long a taker has to say that it started, in milliseconds.
    pub handout_ttl_ms: i64,
}

/// What became of it. Tasks that are in neither list are PENDING no more, or others than they were,
/// or somebody else is about to change them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimedPlaced {
    pub leased: Vec<Leased>,
    /// They are as they were, and were too large to go with the rest.
    pub left: Vec<TaskId>,
    /// Takers whose acquire id was used before; they got nothing, see [`Store::acquired`].
    pub replays: Vec<usize>,
}

struct Work<'a> {
    request: &'a PlaceRequest,
    runs: AtomicU32,
}

impl Store {
    /// Claims those of the tasks that are PENDING, at the revision that was read. Of two brokers
    /// that place the same task one gets it.
    ///
    /// Cancel safe, as [`Store::claim`] is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_placed(&self, request: &PlaceRequest) -> Result<ClaimedPlaced, StoreError> {
        if request.tasks.is_empty() {
            return Ok(ClaimedPlaced::default());
        }
        let work = Work { request, runs: AtomicU32::new(0) };
        let claimed = self.transact(&work, |store, tx, work| Box::pin(take(store, tx, work)));
        let claimed = claimed.await.map_err(StoreError::exhausted)?;
        self.leases().note(claimed.leased.iter().map(|leased| &leased.task.task));
        self.announce(claimed.leased.iter().map(|leased| &leased.task.task));
        Ok(claimed)
    }
}

async fn take(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<ClaimedPlaced, StoreError> {
    let request = work.request;
    let mut claimed = ClaimedPlaced::default();
    if work.runs.fetch_add(1, Ordering::Relaxed) > 0 {
        claimed.replays = acquires::replays(store, tx, request.takers.iter()).await?;
    }
    let mut by_shard: BTreeMap<&ShardId, Vec<&PlacedTask>> = BTreeMap::new();
    for task in &request.tasks {
        if claimed.replays.contains(&task.taker) {
            claimed.left.push(task.id.clone());
        } else {
            by_shard.entry(&task.id.shard).or_default().push(task);
        }
    }
    let mut bytes = vec![0; request.takers.len()];
    let (mut ledger, mut last_ms) = (Ledger::default(), 0);
    for (shard, wanted) in by_shard {
        let (found, now_ms) = select(store, tx, shard, &wanted).await?;
        last_ms = last_ms.max(now_ms);
        let mut batch = Batch::of(shard, found.values().map(|full| full.task.clone()));
        for (PlacedTask { id, revision, taker: at, placed }, mut full) in
            wanted.into_iter().filter_map(|one| Some((one, found.get(&one.id.key)?.clone())))
        {
            if full.task.revision != *revision {
                continue;
            }
            let with_this = bytes[*at] + full.bytes();
            if bytes[*at] > 0 && with_this > request.bytes_max {
                claimed.left.push(id.clone());
                continue;
            }
            let taker = &request.takers[*at];
            let event = taker.claims(request.handout_ttl_ms);
            let Ok(Some(task)) = batch.apply(id.key, &event, now_ms, &mut ledger) else { continue };
            let mut task = task.clone();
            if let Some(event) = taker.starts(&task)
                && let Ok(Some(started)) = batch.apply(id.key, &event, now_ms, &mut ledger)
            {
                task = started.clone();
            }
            bytes[*at] = with_this.max(1);
            full.task = task;
            let placed = Some(placed.clone());
            claimed.leased.push(Leased { taker: *at, task: full, placed });
        }
        batch.write(store, tx).await?;
    }
    if !claimed.leased.is_empty() {
        let got = claimed.leased.iter().map(|leased| {
            (&request.takers[leased.taker], &leased.task.task, leased.placed.as_ref())
        });
        acquires::note(store, tx, got, last_ms).await?;
        ledger.write(store, tx, last_ms).await?;
    }
    Ok(claimed)
}

/// Those that are PENDING, by their keys, and the database's time. What somebody else is about to
/// change is passed over.
async fn select(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    wanted: &[&PlacedTask],
) -> Result<(BTreeMap<i64, FullTask>, i64), StoreError> {
    let (now, columns) = (now_sql(store.backend()), row::columns("", Parts::CLAIM));
    let (table, pending) = (shard.task_table(), TaskState::Pending.code());
    let mut keys: Vec<i64> = wanted.iter().map(|task| task.id.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut sql = store.sql(&format!("SELECT {now}, {columns} FROM {table} WHERE "));
    sql.is_in("id", &keys).push(&format!(" AND state = {pending} ORDER BY id"));
    sql.push(for_update_skip(store.backend()));
    let (mut found, mut now_ms) = (BTreeMap::new(), 0);
    for one in sql.all(tx).await? {
        now_ms = one.try_get_by_index(0)?;
        let full = row::read_task(&one, 1, shard, Parts::CLAIM)?;
        found.insert(full.task.id.key, full);
    }
    Ok((found, now_ms))
}

//! Claims tasks: one conditional change for the sum of what several workers ask.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncflow_core::{
    event::{Event, Fence},
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
    state::TaskState,
    task::{FullTask, Task},
};
use sea_orm::DatabaseTransaction;

use super::{
    acquires,
    row::{self, Parts},
    write::Batch,
};
use crate::{
    Store,
    backend::{for_update_skip, now_sql},
    error::StoreError,
    ledger::Ledger,
    sql::Sql,
};

/// A place in the queue of a shard: order_time and key of the last task that was claimed there.
pub type Mark = (i64, i64);

/// Behind every task: the mark of a shard that held nothing to claim and gets no new tasks. Such a
/// shard costs a claim nothing until its mark is lowered or forgotten.
pub(super) const END: Mark = (i64::MAX, i64::MAX);

/// A worker's session that waits for tasks.
#[derive(Clone, Debug)]
pub struct Taker {
    pub worker_id: String,
    pub session_id: i64,
    /// Repeating it returns the same tasks, see [`Store::acquired`]; empty = not repeatable.
    pub acquire_id: String,
    /// Most tasks it takes.
    pub want: u32,
    /// It begins at once what it gets, so that this counts as started, under a lease of so many
    /// milliseconds. `None`: it has the hand-out's time to say that it started.
    pub lease_ttl_ms: Option<i64>,
}

impl Taker {
    /// It takes a task.
    pub(super) fn claims(&self, handout_ttl_ms: i64) -> Event {
        let (worker_id, session_id) = (self.worker_id.clone(), self.session_id);
        Event::Claim { worker_id, session_id, handout_ttl_ms }
    }

    /// It begins a task that it has taken, if it does so at once.
    pub(super) fn starts(&self, taken: &Task) -> Option<Event> {
        let fence = Fence { attempt: taken.attempt, session_id: self.session_id };
        self.lease_ttl_ms.map(|lease_ttl_ms| Event::Start { fence, lease_ttl_ms })
    }
}

/// What is to be claimed, and for whom.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub task_type: TypeName,
    /// Most tasks of this claim, however much the takers want.
    pub limit: u32,
    /// Served in this order.
    pub takers: Vec<Taker>,
    /// Nobody else claims tasks of this type now, as far as the caller knows. Then they are read
    /// without locks, and a claim that somebody got ahead of is repeated with them.
    pub is_alone: bool,
    /// Claim only behind these marks. A shard without a mark is claimed from its start.
    pub after: BTreeMap<ShardId, Mark>,
    /// Most bytes of payloads and contexts, unless the first task alone has more: the tasks have to
    /// fit into the answers.
    pub bytes_max: usize,
    /// How long a taker has to say that it started, in milliseconds.
    pub handout_ttl_ms: i64,
}

/// A task that was claimed.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// Index into the request's takers.
    pub taker: usize,
    pub task: FullTask,
}

/// What a claim found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    pub leased: Vec<Leased>,
    /// The next claim's marks: the last task that was taken of each shard that gave one, and the
    /// end of those that are closed and held none.
    pub marks: BTreeMap<ShardId, Mark>,
    /// Takers whose acquire id was used before; they got nothing, see [`Store::acquired`].
    pub replays: Vec<usize>,
    /// There was more, and too large to be claimed with the rest.
    pub is_cut: bool,
    /// Somebody else wrote what it had read, or the same acquire.
    pub was_contended: bool,
}

struct Work<'a> {
    request: &'a ClaimRequest,
    shards: Vec<ShardId>,
    runs: AtomicU32,
}

impl Store {
    /// Claims PENDING tasks of a type over all its active shards, oldest shard first, in the order
    /// of their `order_time`, and leases them to the takers. A paused type gives none.
    ///
    /// Cancel safe; tasks whose answer is lost are found by [`Store::acquired`], or go back when
    /// they are not started within `handout_ttl_ms`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        let wanted: u32 = request.takers.iter().map(|taker| taker.want).sum();
        let paused = self.get_type(&request.task_type).await?.is_some_and(|t| t.paused);
        if paused || wanted == 0 || request.limit == 0 {
            return Ok(Claimed::default());
        }
        let claimed = match self.claim_shards(request).await {
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(&request.task_type);
                self.claim_shards(request).await.map_err(StoreError::exhausted)?
            }
            outcome => outcome?,
        };
        self.leases().note(claimed.leased.iter().map(|leased| &leased.task.task));
        self.announce(claimed.leased.iter().map(|leased| &leased.task.task));
        Ok(claimed)
    }

    async fn claim_shards(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        let shards = self.shards_of(&request.task_type).await?;
        let mut shards: Vec<&Shard> = (self.active(&shards))
            .filter(|shard| request.after.get(&shard.id) != Some(&END))
            .collect();
        let mut idle = BTreeMap::new();
        if shards.len() > 1 {
            let first = self.first_pending(&shards, &request.after).await?;
            let nothing = first.iter().zip(&shards).filter(|(first, _)| first.is_none());
            let closed = nothing.filter(|(_, shard)| shard.state == ShardState::Closed);
            idle.extend(closed.map(|(_, shard)| (shard.id.clone(), END)));
            let found = first.iter().zip(shards).filter(|(first, _)| first.is_some());
            shards = found.map(|(_, shard)| shard).collect();
        }
        let mut claimed = Claimed::default();
        if !shards.is_empty() {
            let shards = shards.into_iter().map(|shard| shard.id.clone()).collect();
            let work = Work { request, shards, runs: AtomicU32::new(0) };
            claimed = self
                .transact(&work, |store, tx, work| Box::pin(claim_once(store, tx, work)))
                .await?;
        }
        claimed.marks.append(&mut idle);
        Ok(claimed)
    }

    /// The first task to claim behind the mark of each shard. One statement finds them outside the
    /// transaction, so that idle shards cost neither a round trip each nor any lock; what comes
    /// later rings the wake-up of its type.
    async fn first_pending(
        &self,
        shards: &[&Shard],
        after: &BTreeMap<ShardId, Mark>,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        self.first_of_each(shards, |sql, shard| {
            let (table, pending) = (shard.id.task_table(), TaskState::Pending.code());
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {pending}"));
            push_behind(sql, after.get(&shard.id).unwrap_or(&(i64::MIN, i64::MIN)));
            sql.push(" ORDER BY order_time, id");
        })
        .await
    }
}

async fn claim_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<Claimed, StoreError> {
    let request = work.request;
    let mut claimed = Claimed::default();
    let is_repeated = work.runs.fetch_add(1, Ordering::Relaxed) > 0;
    claimed.was_contended = is_repeated;
    // Only a duplicate key tells that an acquire id was used before, so only a repetition looks.
    if is_repeated {
        claimed.replays = acquires::replays(store, tx, request.takers.iter()).await?;
    }
    let mut queue: Vec<usize> = Vec::new();
    for (at, taker) in request.takers.iter().enumerate() {
        if !claimed.replays.contains(&at) {
            queue.extend(std::iter::repeat_n(at, taker.want as usize));
        }
    }
    queue.truncate(request.limit as usize);
    let mut takers = queue.into_iter();
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    let mut bytes = 0;
    for shard in &work.shards {
        let limit = takers.len();
        if limit == 0 || claimed.is_cut {
            break;
        }
        let locks = is_repeated || !request.is_alone;
        let after = request.after.get(shard);
        let (found, now_ms) = select(store, tx, shard, after, limit, locks).await?;
        if found.is_empty() {
            continue;
        }
        last_ms = last_ms.max(now_ms);
        let mut batch = Batch::of(shard, found.iter().map(|full| full.task.clone()));
        for mut full in found {
            bytes += full.bytes();
            claimed.is_cut = bytes > request.bytes_max && !claimed.leased.is_empty();
            if claimed.is_cut {
                break;
            }
            let Some(at) = takers.next() else { break };
            claimed.marks.insert(shard.clone(), (full.task.order_time_ms, full.task.id.key));
            let taker = &request.takers[at];
            let key = full.task.id.key;
            let event = taker.claims(request.handout_ttl_ms);
            let Ok(Some(task)) = batch.apply(key, &event, now_ms, &mut ledger) else { continue };
            let mut task = task.clone();
            if let Some(event) = taker.starts(&task)
                && let Ok(Some(started)) = batch.apply(key, &event, now_ms, &mut ledger)
            {
                task = started.clone();
            }
            full.task = task;
            claimed.leased.push(Leased { taker: at, task: full });
        }
        batch.write(store, tx).await?;
    }
    if !claimed.leased.is_empty() {
        let got = claimed.leased.iter();
        let got = got.map(|leased| (&request.takers[leased.taker], &leased.task.task));
        acquires::note(store, tx, got, last_ms).await?;
        ledger.write(store, tx, last_ms).await?;
    }
    Ok(claimed)
}

/// The mark is not compared as a tuple, which MySQL would not turn into a range of the index.
fn push_behind(sql: &mut Sql, (order_ms, key): &Mark) {
    sql.push(" AND order_time >= ").bind(*order_ms);
    sql.push(" AND (order_time > ").bind(*order_ms);
    sql.push(" OR id > ").bind(*key).push(")");
}

/// The state is written out, so that PostgreSQL may use its partial index on PENDING.
///
/// To lock rows found by an index of many recent changes, InnoDB looks for older versions of each
/// of them, which took seven times as long as the rest of the read (`docs/adr/0013-claims.md`).
async fn select(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    after: Option<&Mark>,
    limit: usize,
    locks: bool,
) -> Result<(Vec<FullTask>, i64), StoreError> {
    let (now, columns) = (now_sql(store.backend()), row::columns("", Parts::CLAIM));
    let (table, pending) = (shard.task_table(), TaskState::Pending.code());
    let mut sql =
        store.sql(&format!("SELECT {now}, {columns} FROM {table} WHERE state = {pending}"));
    if let Some(mark) = after {
        push_behind(&mut sql, mark);
    }
    sql.push(" ORDER BY order_time, id LIMIT ").bind(limit as i64);
    sql.push(if locks { for_update_skip(store.backend()) } else { "" });
    let mut now_ms = 0;
    let mut tasks = Vec::new();
    for found in sql.all(tx).await? {
        now_ms = found.try_get_by_index(0)?;
        tasks.push(row::read_task(&found, 1, shard, Parts::CLAIM)?);
    }
    Ok((tasks, now_ms))
}

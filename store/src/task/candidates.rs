//! Finds what a claim may take.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::ShardId,
    shard::{Shard, ShardState},
    state::TaskState,
    task::{FullTask, Task},
};
use sea_orm::ConnectionTrait;

use super::{
    claim::ClaimRequest,
    row::{self, Parts},
};
use crate::{
    Store,
    backend::{for_update_skip, now_sql},
    error::StoreError,
    sql::Sql,
};

/// A place in the queue of a shard: order_time and key of the last task that was claimed there.
pub type Mark = (i64, i64);

/// Behind every task: the mark of a shard that held nothing to claim and gets no new tasks. Such a
/// shard costs a claim nothing until its mark is lowered or forgotten.
pub(super) const END: Mark = (i64::MAX, i64::MAX);

/// Tasks read at once as soon as one was set aside.
const ASIDE_PAGE: usize = 64;
/// Tasks set aside at once, about.
const ASIDE_MAX: usize = 1_000;

/// PENDING tasks in the order in which they are to be claimed; not claimed yet.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Shard by shard, each with the time at which it was read.
    pub(super) found: Vec<(ShardId, Vec<FullTask>, i64)>,
    /// The marks of a claim that begins behind them: the last of each shard, and the end of shards
    /// that are closed and hold none.
    pub marks: BTreeMap<ShardId, Mark>,
    /// There was more, and too large to be claimed with the rest.
    pub is_cut: bool,
    /// Ahead of the marks, and not to be claimed so: they need more than a slot.
    pub aside: Vec<Task>,
}

impl Candidates {
    /// What was read of a shard, up to a mark.
    fn add(&mut self, shard: &ShardId, taken: Vec<FullTask>, now_ms: i64, mark: Option<Mark>) {
        if let Some(mark) = mark {
            self.marks.insert(shard.clone(), mark);
        }
        match self.found.last_mut() {
            Some((last, tasks, _)) if last == shard => tasks.extend(taken),
            _ if taken.is_empty() => {}
            _ => self.found.push((shard.clone(), taken, now_ms)),
        }
    }

    pub fn count(&self) -> usize {
        self.found.iter().map(|(_, tasks, _)| tasks.len()).sum()
    }

    /// Marks that stand before all of them.
    pub fn starts(&self) -> BTreeMap<ShardId, Mark> {
        let first = |(shard, tasks, _): &(ShardId, Vec<FullTask>, i64)| {
            let task = &tasks.first()?.task;
            Some((shard.clone(), (task.order_time_ms, task.id.key - 1)))
        };
        self.found.iter().filter_map(first).collect()
    }
}

impl Store {
    /// What a claim would take now, read without locks. While it is being claimed, by
    /// [`Store::claim_candidates`], the next claim can begin behind its marks.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn candidates(&self, request: &ClaimRequest) -> Result<Candidates, StoreError> {
        if self.gives_none(request).await? {
            return Ok(Candidates::default());
        }
        let found = match self.unlocked(request).await {
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(&request.task_type);
                self.unlocked(request).await
            }
            found => found,
        };
        found.map_err(StoreError::exhausted)
    }

    async fn unlocked(&self, request: &ClaimRequest) -> Result<Candidates, StoreError> {
        let (shards, idle) = self.shards_to_claim(request).await?;
        let mut candidates =
            find(self, self.reader(), request, (&shards, request.wanted()), false).await?;
        candidates.marks.extend(idle);
        Ok(candidates)
    }

    /// The shards that hold something behind their marks, oldest first, and the marks of those that
    /// are not worth another look.
    pub(super) async fn shards_to_claim(
        &self,
        request: &ClaimRequest,
    ) -> Result<(Vec<ShardId>, BTreeMap<ShardId, Mark>), StoreError> {
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
        Ok((shards.into_iter().map(|shard| shard.id.clone()).collect(), idle))
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

/// At most `limit` tasks of the shards, as many as fit together. Those that need more than a slot
/// are set aside, and do not count.
pub(super) async fn find(
    store: &Store,
    from: &impl ConnectionTrait,
    request: &ClaimRequest,
    (shards, limit): (&[ShardId], usize),
    locks: bool,
) -> Result<Candidates, StoreError> {
    let mut candidates = Candidates::default();
    let (mut left, mut bytes) = (limit, 0);
    for shard in shards {
        let mut after = request.after.get(shard).copied();
        while left > 0 && !candidates.is_cut {
            let width = if candidates.aside.is_empty() { left } else { left.max(ASIDE_PAGE) };
            let (tasks, now_ms) = select(store, from, shard, after.as_ref(), width, locks).await?;
            let (count, aside_before) = (tasks.len(), candidates.aside.len());
            let mut taken = Vec::with_capacity(count.min(left));
            for full in tasks {
                if !full.task.is_needy() {
                    let is_first = bytes == 0 && candidates.found.is_empty();
                    bytes += full.bytes();
                    candidates.is_cut = bytes > request.bytes_max && !is_first;
                    if left == 0 || candidates.is_cut {
                        break;
                    }
                    left -= 1;
                }
                after = Some((full.task.order_time_ms, full.task.id.key));
                if full.task.is_needy() {
                    candidates.aside.push(full.task);
                } else {
                    taken.push(full);
                }
            }
            candidates.add(shard, taken, now_ms, after);
            if count < width || candidates.aside.len() == aside_before {
                break;
            }
            candidates.is_cut |= candidates.aside.len() >= ASIDE_MAX;
        }
    }
    Ok(candidates)
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
    from: &impl ConnectionTrait,
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
    for found in sql.all(from).await? {
        now_ms = found.try_get_by_index(0)?;
        tasks.push(row::read_task(&found, 1, shard, Parts::CLAIM)?);
    }
    Ok((tasks, now_ms))
}

//! Folds the counts of a shard: fewer rows to add up for whoever asks.

use std::collections::BTreeMap;

use asyncflow_core::id::ShardId;
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::for_update,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::add_counts,
};

/// Rows that one transaction reads and locks; a user has 16 for each state at most.
const ROWS_MAX: i64 = 4_000;
/// Rows per DELETE.
const DELETE_MAX: usize = 200;

/// The users behind `after`.
struct Request<'a> {
    shard: &'a ShardId,
    after: String,
    fence: &'a LeaderFence,
}

impl Store {
    /// Adds up the slots of a shard's counts to one row for each user and state, and removes those
    /// that add up to 0; returns how many rows were taken away. The counts are right at any moment,
    /// whoever writes meanwhile: exactly the rows that were locked, at most 4,000 at a time, are
    /// replaced by their sum. Writers wait for it, so it is meant for shards that are not OPEN any
    /// more.
    ///
    /// Cancel safe: what was folded stays so.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn fold_counts(
        &self,
        shard: &ShardId,
        fence: &LeaderFence,
    ) -> Result<u64, StoreError> {
        let mut request = Request { shard, after: String::new(), fence };
        let mut gone = 0;
        loop {
            let folded = self
                .transact(&request, |store, tx, request| Box::pin(fold_once(store, tx, request)))
                .await?;
            gone += folded.gone;
            match folded.next {
                Some(after) => request.after = after,
                None => return Ok(gone),
            }
        }
    }
}

struct Folded {
    gone: u64,
    /// The user behind whom to go on.
    next: Option<String>,
}

async fn fold_once(
    store: &Store,
    tx: &DatabaseTransaction,
    Request { shard, after, fence }: &Request<'_>,
) -> Result<Folded, StoreError> {
    check_fence(store, tx, fence).await?;
    let mut sql = store.sql("SELECT user_name, state, slot, n FROM task_counts WHERE task_type = ");
    sql.bind(shard.task_type.as_str()).push(" AND shard = ").bind(shard.number);
    sql.push(" AND user_name > ").bind(after.as_str());
    sql.push(" ORDER BY user_name, state, slot LIMIT ").bind(ROWS_MAX);
    sql.push(for_update(store.backend()));
    let mut groups: BTreeMap<(String, i16), Vec<(i16, i64)>> = BTreeMap::new();
    let found = sql.all(tx).await?;
    for row in &found {
        let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        groups.entry(key).or_default().push((row.try_get_by_index(2)?, row.try_get_by_index(3)?));
    }
    let mut next = None;
    if found.len() as i64 == ROWS_MAX {
        // The last user may have more.
        let cut = groups.keys().next_back().map(|(user, _)| user.clone()).unwrap_or_default();
        groups.retain(|(user, _), _| *user != cut);
        next = groups.keys().next_back().map(|(user, _)| user.clone());
    }
    groups.retain(|_, slots| slots.len() > 1 || slots.iter().all(|(_, n)| *n == 0));
    let rows: Vec<_> = (groups.iter())
        .flat_map(|((user, state), slots)| slots.iter().map(move |(slot, _)| (user, state, slot)))
        .collect();
    for chunk in rows.chunks(DELETE_MAX) {
        let mut sql = store.sql("DELETE FROM task_counts WHERE task_type = ");
        sql.bind(shard.task_type.as_str()).push(" AND shard = ").bind(shard.number).push(" AND (");
        for (at, (user, state, slot)) in chunk.iter().enumerate() {
            sql.push(if at > 0 { " OR (user_name = " } else { "(user_name = " });
            sql.bind(user.as_str()).push(" AND state = ").bind(**state);
            sql.push(" AND slot = ").bind(**slot).push(")");
        }
        sql.push(")").run(tx).await?;
    }
    let gone = rows.len();
    let sums: Vec<_> = (groups.into_iter())
        .map(|((user, state), slots)| {
            let sum = slots.iter().map(|(_, n)| n).sum::<i64>();
            (((*shard).clone(), user, state), sum)
        })
        .collect();
    let kept = sums.iter().filter(|(_, sum)| *sum != 0).count();
    add_counts(store, tx, sums).await?;
    Ok(Folded { gone: (gone - kept) as u64, next })
}

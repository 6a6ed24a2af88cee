//! Compares a shard's counts with its rows, and repairs what is wrong.
//!
//! ```text
//!  compare, in one snapshot:      registry row ─▶ counts ─▶ rows, a page of primary keys at a time
//!  repair, in one transaction:    leader's row ─▶ version + 1, if it is still the one that was
//!                                 seen ─▶ n + (found - counted)
//! ```
//!
//! Each transaction changes counts and rows together, so that within a snapshot they are equal or
//! something is wrong, however much is written meanwhile. For the same reason the difference is
//! right for as long as nobody else adds it, and the registry's version makes sure of that: of two
//! repairs from overlapping snapshots only the first is made, and none of a shard that was closed,
//! drained or dropped since.

use std::{collections::BTreeMap, time::Duration};

use asyncflow_core::{id::ShardId, shard::ShardState, state::TaskState};
use sea_orm::{
    AccessMode, DatabaseTransaction, IsolationLevel, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use super::list::is_readable;
use crate::{
    Store,
    backend::{Backend, now_sql, sum},
    clock::monotonic,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::{CountKey, add_counts},
    task::state,
};

/// Most drifts that one comparison tells of and one repair writes; the next finds the others.
const DRIFTS_MAX: usize = 2_000;

/// How a comparison reads.
#[derive(Clone, Copy, Debug)]
pub struct CompareLimits {
    /// Rows that one statement walks; at least 1.
    pub page_rows: u32,
    /// How long the snapshot may be held, looked at between two pages: the database keeps every
    /// dead row that it could see.
    pub snapshot_max: Duration,
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All rows were seen.
    Whole(Comparison),
    /// The snapshot would have become too old; so many rows were seen.
    TooLong { rows: i64 },
    /// The registry has no such shard whose tables can be read.
    Unreadable,
}

/// A shard's counts against its rows, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub shard: ShardId,
    /// Of the registry's row at that moment.
    pub version: i64,
    pub rows: i64,
    /// Where the two differ, in order of user and state; at most 2,000.
    pub drifts: Vec<Drift>,
}

/// A count that is not the number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub user: String,
    pub state: TaskState,
    /// What the counts say; it may be negative.
    pub counted: i64,
    /// How many rows there are.
    pub found: i64,
}

/// What was read so far.
struct Walk {
    rows: i64,
    last_key: i64,
    /// Counted and found, by user and state.
    tasks: BTreeMap<(String, i16), (i64, i64)>,
}

impl Store {
    /// Counts a shard's rows, and says where the counts that are kept up differ. Nothing is
    /// written and nothing is locked, but tables are not dropped meanwhile. Memory: some hundred
    /// bytes per user and state. Cancel safe.
    ///
    /// # Errors
    /// `NoSuchTable` when the shard is dropped at this moment; `Corrupt`; those of the database.
    pub async fn compare_counts(
        &self,
        shard: &ShardId,
        limits: CompareLimits,
    ) -> Result<Compared, StoreError> {
        let deadline = monotonic() + limits.snapshot_max;
        let mut walk = Walk { rows: 0, last_key: -1, tasks: BTreeMap::new() };
        let tx = self.reader().begin_with_options(snapshot(self.backend())).await?;
        let Some(version) = readable_version(self, &tx, shard).await? else {
            tx.rollback().await?;
            return Ok(Compared::Unreadable);
        };
        walk.read_counts(self, &tx, shard).await?;
        let mut all = false;
        while !all && monotonic() < deadline {
            all = walk.read_page(self, &tx, shard, limits.page_rows).await?;
        }
        tx.rollback().await?;
        if !all {
            return Ok(Compared::TooLong { rows: walk.rows });
        }
        let differing = walk.tasks.into_iter().filter(|(_, (counted, found))| counted != found);
        let drifts = differing.take(DRIFTS_MAX).map(|((user, code), (counted, found))| {
            Ok(Drift { user, state: state(code)?, counted, found })
        });
        let drifts = drifts.collect::<Result<_, StoreError>>()?;
        let comparison = Comparison { shard: shard.clone(), version, rows: walk.rows, drifts };
        Ok(Compared::Whole(comparison))
    }

    /// Adds to the counts what a comparison found to be missing; says whether it did. It does not
    /// when the registry's row was changed since, by another repair or by a step of the shard's
    /// life: then the comparison has to be made anew.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn repair_counts(
        &self,
        comparison: &Comparison,
        fence: &LeaderFence,
    ) -> Result<bool, StoreError> {
        let work = (comparison, fence);
        self.transact(&work, |store, tx, (comparison, fence)| {
            Box::pin(repair_once(store, tx, comparison, fence))
        })
        .await
    }
}

impl Walk {
    async fn read_counts(
        &mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        shard: &ShardId,
    ) -> Result<(), StoreError> {
        let n = sum(store.backend(), "n");
        let mut sql =
            store.sql(&format!("SELECT user_name, state, {n} FROM task_counts WHERE task_type = "));
        sql.bind(shard.task_type.as_str()).push(" AND shard = ").bind(shard.number);
        sql.push(" GROUP BY user_name, state");
        for row in sql.all(tx).await? {
            let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            self.tasks.entry(key).or_default().0 += row.try_get_by_index::<i64>(2)?;
        }
        Ok(())
    }

    /// Adds the rows behind those that were seen; says whether there are no more. The database
    /// groups them, so that little comes over.
    async fn read_page(
        &mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        shard: &ShardId,
        page_rows: u32,
    ) -> Result<bool, StoreError> {
        let table = shard.task_table();
        let mut sql = store.sql(&format!(
            "SELECT user_name, state, COUNT(*), MAX(id) FROM \
             (SELECT id, user_name, state FROM {table} WHERE id > "
        ));
        sql.bind(self.last_key).push(" ORDER BY id LIMIT ").bind(i64::from(page_rows));
        sql.push(") AS page GROUP BY user_name, state");
        let mut seen = 0;
        for row in sql.all(tx).await? {
            let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let rows: i64 = row.try_get_by_index(2)?;
            self.tasks.entry(key).or_default().1 += rows;
            self.last_key = self.last_key.max(row.try_get_by_index(3)?);
            seen += rows;
        }
        self.rows += seen;
        Ok(seen < i64::from(page_rows))
    }
}

/// A transaction all of whose reads see the same moment, that of the first.
fn snapshot(backend: Backend) -> TransactionOptions {
    match backend {
        // Every transaction of SQLite is a snapshot.
        Backend::Sqlite => TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
            ..TransactionOptions::default()
        },
        Backend::Mysql | Backend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
    }
}

async fn readable_version(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
) -> Result<Option<i64>, StoreError> {
    let mut sql = store.sql("SELECT state, version FROM shards WHERE task_type = ");
    sql.bind(shard.task_type.as_str()).push(" AND number = ").bind(shard.number);
    let Some(row) = sql.one(tx).await? else { return Ok(None) };
    let state = ShardState::from_code(row.try_get_by_index(0)?);
    Ok(state.is_some_and(is_readable).then_some(row.try_get_by_index(1)?))
}

async fn repair_once(
    store: &Store,
    tx: &DatabaseTransaction,
    comparison: &Comparison,
    fence: &LeaderFence,
) -> Result<bool, StoreError> {
    let Comparison { shard, version, drifts, .. } = comparison;
    check_fence(store, tx, fence).await?;
    let now = now_sql(store.backend());
    let mut sql = store.sql(&format!(
        "UPDATE shards SET version = version + 1, update_time_ms = {now} WHERE task_type = "
    ));
    sql.bind(shard.task_type.as_str()).push(" AND number = ").bind(shard.number);
    sql.push(" AND version = ").bind(*version);
    if sql.run(tx).await? == 0 {
        return Ok(false);
    }
    let missing = drifts.iter().map(|drift| {
        let key: CountKey = (shard.clone(), drift.user.clone(), drift.state.code());
        (key, drift.found - drift.counted)
    });
    add_counts(store, tx, missing).await?;
    Ok(true)
}

//! What a drop of a shard would meet.

use asyncflow_core::{
    id::ShardId,
    shard::{Shard, ShardState},
    state::TaskState,
};

use crate::{Store, error::StoreError};

/// Retained rows are counted up to so many.
const RETAINED_MAX: i64 = 10_000;

/// A shard as a drop would find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCheck {
    pub state: ShardState,
    /// Its rows, by the counts.
    pub rows: i64,
    /// Those among them that are not terminal.
    pub live_rows: i64,
    /// Rows that ended at or after the time that was asked for; counted up to 10,000.
    pub retained_rows: i64,
    /// When the last of its tasks ended; `None` if none did.
    pub last_finish_ms: Option<i64>,
}

impl Store {
    /// Looks at a shard as [`Store::drop_shard`] would, and changes nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such shard; those of the database.
    pub async fn drop_check(
        &self,
        shard: &ShardId,
        before_ms: i64,
    ) -> Result<DropCheck, StoreError> {
        let state = self.registered(shard).await?.state;
        let counts = self.shard_counts(Some(&shard.task_type)).await?;
        let counts = || counts.iter().filter(|count| count.shard == *shard);
        let live = counts().filter(|count| !count.state.is_terminal());
        let mut check = DropCheck {
            state,
            rows: counts().map(|count| count.tasks).sum(),
            live_rows: live.map(|count| count.tasks).sum(),
            retained_rows: 0,
            last_finish_ms: None,
        };
        if matches!(state, ShardState::Open | ShardState::Closed | ShardState::Drained) {
            let table = shard.task_table();
            check.last_finish_ms = self.last_finish_ms(&table).await?;
            check.retained_rows = self.retained_rows(&table, before_ms, RETAINED_MAX).await?;
        }
        Ok(check)
    }

    async fn last_finish_ms(&self, table: &str) -> Result<Option<i64>, StoreError> {
        let mut last: Option<i64> = None;
        for state in terminal_states() {
            let mut sql = self.sql(&format!(
                "SELECT order_time FROM {table} WHERE state = {} ORDER BY order_time DESC LIMIT 1",
                state.code()
            ));
            if let Some(row) = sql.one(self.reader()).await? {
                last = last.max(Some(row.try_get_by_index(0)?));
            }
        }
        Ok(last)
    }

    /// How many tasks ended at or after `before_ms`; counted up to `max`.
    pub(super) async fn retained_rows(
        &self,
        table: &str,
        before_ms: i64,
        max: i64,
    ) -> Result<i64, StoreError> {
        let mut rows = 0;
        for state in terminal_states() {
            let mut sql = self.sql(&format!(
                "SELECT order_time FROM {table} WHERE state = {} AND order_time >= ",
                state.code()
            ));
            sql.bind(before_ms).push(" ORDER BY order_time LIMIT ").bind(max - rows);
            rows += i64::try_from(sql.all(self.reader()).await?.len()).unwrap_or(max);
            if rows >= max {
                break;
            }
        }
        Ok(rows)
    }

    /// What the registry says of a shard now.
    pub(super) async fn registered(&self, shard: &ShardId) -> Result<Shard, StoreError> {
        let shards = self.list_shards(Some(&shard.task_type)).await?;
        shards.into_iter().find(|known| known.id == *shard).ok_or(StoreError::NotFound)
    }
}

fn terminal_states() -> impl Iterator<Item = TaskState> {
    TaskState::ALL.into_iter().filter(|state| state.is_terminal())
}

//! How many tasks are taken before one, without counting a whole queue.

use asyncflow_core::{state::TaskState, task::Task};

use crate::{Store, error::StoreError};

impl Store {
    /// How many PENDING tasks of its type are taken before a task that is PENDING itself, by the
    /// order of claims: those in older shards, and those that stand before it in its own. At most
    /// `most` are counted. What a claim prefers besides, such as shares of users, is not known
    /// here.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn count_ahead(&self, task: &Task, most: u32) -> Result<u32, StoreError> {
        let mut ahead = 0;
        for shard in self.active_shards(task.id.task_type()).await? {
            if shard.number > task.id.shard.number || ahead >= most {
                break;
            }
            let (table, pending) = (shard.task_table(), TaskState::Pending.code());
            let mut sql = self.sql("SELECT COUNT(*) FROM (");
            sql.push(&format!("SELECT id FROM {table} WHERE state = {pending}"));
            if shard == task.id.shard {
                // Not compared as a tuple, which MySQL would not turn into a range of the index.
                sql.push(" AND order_time <= ").bind(task.order_time_ms);
                sql.push(" AND (order_time < ").bind(task.order_time_ms);
                sql.push(" OR id < ").bind(task.id.key).push(")");
            }
            sql.push(" ORDER BY order_time, id LIMIT ").bind(i64::from(most - ahead));
            let row = sql.push(") AS ahead").one(self.reader()).await;
            let row = match row {
                // It was dropped since the list was read: nothing was PENDING there.
                Err(StoreError::NoSuchTable(_)) => continue,
                row => row?,
            };
            let found: i64 = match row {
                Some(row) => row.try_get_by_index(0)?,
                None => 0,
            };
            ahead = ahead.saturating_add(u32::try_from(found).unwrap_or(most));
        }
        Ok(ahead)
    }
}

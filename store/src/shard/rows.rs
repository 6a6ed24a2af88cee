//! Reads a shard's tasks with everything, page by page: for the archive.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::ShardId,
    task::{Attempt, FullTask},
};

use crate::{
    Store,
    backend::to_bigint,
    error::StoreError,
    task::{ATTEMPT_COLUMNS, Parts, columns, complete, read_attempt, read_task},
};

/// A task with its ended attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardRow {
    pub full: FullTask,
    /// In their order.
    pub attempts: Vec<Attempt>,
}

/// How much of a shard is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardPage {
    /// At least 1.
    pub rows_max: u32,
    /// Of payloads, contexts and results together; a single task may be larger.
    pub bytes_max: i64,
}

impl Store {
    /// The tasks of a shard whose key is above `after`, in the order of their keys; empty behind
    /// the last one. The page is read in three statements: rows that change between them may be
    /// seen in either form.
    ///
    /// # Errors
    /// `NoSuchTable` when the shard has no tables (any more); those of the database.
    pub async fn shard_rows(
        &self,
        shard: &ShardId,
        after: Option<i64>,
        page: ShardPage,
    ) -> Result<Vec<ShardRow>, StoreError> {
        let after = after.unwrap_or(-1);
        let Some(last) = self.end_of_page(shard, after, page).await? else {
            return Ok(Vec::new());
        };
        let columns = columns("", Parts::ALL);
        let mut sql = self.sql(&format!("SELECT {columns} FROM {}", shard.task_table()));
        sql.push(" WHERE id > ").bind(after).push(" AND id <= ").bind(last).push(" ORDER BY id");
        let rows = sql.all(self.reader()).await?;
        let mut attempts = self.attempts_between(shard, after, last).await?;
        let full = rows.iter().map(|row| read_task(row, 0, shard, Parts::ALL));
        full.map(|full| {
            let full = full?;
            let mut attempts = attempts.remove(&full.task.id.key).unwrap_or_default();
            complete(&mut attempts, &full.task);
            Ok(ShardRow { full, attempts })
        })
        .collect()
    }

    /// The key of a shard's newest task; `None` when it is empty.
    ///
    /// # Errors
    /// `NoSuchTable` when the shard has no tables (any more); those of the database.
    pub async fn newest_key(&self, shard: &ShardId) -> Result<Option<i64>, StoreError> {
        self.newest_key_in(&shard.task_table()).await
    }

    /// The same of a table, whatever it is called at the moment.
    pub(super) async fn newest_key_in(&self, tasks: &str) -> Result<Option<i64>, StoreError> {
        let mut sql = self.sql(&format!("SELECT id FROM {tasks} ORDER BY id DESC LIMIT 1"));
        let newest = sql.one(self.reader()).await?;
        newest.map(|row| Ok(row.try_get_by_index(0)?)).transpose()
    }

    /// The key of the page's last task. Sizes are asked for first, so that what is read is bounded.
    async fn end_of_page(
        &self,
        shard: &ShardId,
        after: i64,
        page: ShardPage,
    ) -> Result<Option<i64>, StoreError> {
        let bytes = to_bigint(
            self.backend(),
            "LENGTH(payload) + LENGTH(context) + COALESCE(LENGTH(result), 0)",
        );
        let mut sql = self.sql(&format!("SELECT id, {bytes} FROM {}", shard.task_table()));
        sql.push(" WHERE id > ").bind(after).push(" ORDER BY id LIMIT ");
        sql.bind(i64::from(page.rows_max));
        let (mut last, mut total) = (None, 0_i64);
        for row in sql.all(self.reader()).await? {
            total = total.saturating_add(row.try_get_by_index(1)?);
            if last.is_some() && total > page.bytes_max {
                break;
            }
            last = Some(row.try_get_by_index(0)?);
        }
        Ok(last)
    }

    async fn attempts_between(
        &self,
        shard: &ShardId,
        after: i64,
        last: i64,
    ) -> Result<BTreeMap<i64, Vec<Attempt>>, StoreError> {
        let table = shard.attempt_table();
        let mut sql = self.sql(&format!("SELECT {} FROM {table}", ATTEMPT_COLUMNS.join(", ")));
        sql.push(" WHERE task_key > ").bind(after).push(" AND task_key <= ").bind(last);
        sql.push(" ORDER BY task_key, attempt");
        let mut by_key: BTreeMap<i64, Vec<Attempt>> = BTreeMap::new();
        for row in sql.all(self.reader()).await? {
            let attempts = by_key.entry(row.try_get_by_index(0)?).or_default();
            attempts.push(read_attempt(&row, 1)?);
        }
        Ok(by_key)
    }
}

//! Moves SCHEDULED tasks that are due into the queue.

use asyncflow_core::{
    event::Event,
    id::{ShardId, TypeName},
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::{
    row::{self, Parts},
    write::Batch,
};
use crate::{
    Store,
    backend::{for_update_skip, now_sql},
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::Ledger,
};

struct Work<'a> {
    shards: Vec<ShardId>,
    limit: u32,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// Promotes at most `limit` tasks of a type whose time has come; returns them as they are now,
    /// PENDING. Several brokers may do it at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn promote_due(
        &self,
        task_type: &TypeName,
        limit: u32,
    ) -> Result<Vec<Task>, StoreError> {
        self.promote(task_type, limit, None).await
    }

    /// The same for the governor, only while it leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn promote_left_behind(
        &self,
        task_type: &TypeName,
        limit: u32,
        fence: &LeaderFence,
    ) -> Result<Vec<Task>, StoreError> {
        self.promote(task_type, limit, Some(fence)).await
    }

    async fn promote(
        &self,
        task_type: &TypeName,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<Vec<Task>, StoreError> {
        let promoted = match self.promote_shards(task_type, limit, fence).await {
            // A shard was dropped since the registry was read.
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(task_type);
                self.promote_shards(task_type, limit, fence).await.map_err(StoreError::exhausted)?
            }
            promoted => promoted?,
        };
        self.announce(&promoted);
        Ok(promoted)
    }

    /// Shards where nothing is due cost one statement in all.
    async fn promote_shards(
        &self,
        task_type: &TypeName,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<Vec<Task>, StoreError> {
        let shards = self.with_due(&self.active_shards(task_type).await?).await?;
        if shards.is_empty() && fence.is_none() {
            return Ok(Vec::new());
        }
        let work = Work { shards, limit, fence };
        self.transact(&work, |store, tx, work| Box::pin(promote_once(store, tx, work))).await
    }

    /// When the next SCHEDULED task of a type is due, in the database's Unix milliseconds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn next_due_ms(&self, task_type: &TypeName) -> Result<Option<i64>, StoreError> {
        match self.first_due_ms(task_type).await {
            // A shard was dropped since the registry was read.
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(task_type);
                self.first_due_ms(task_type).await
            }
            due_ms => due_ms,
        }
    }

    async fn first_due_ms(&self, task_type: &TypeName) -> Result<Option<i64>, StoreError> {
        let shards = self.active_shards(task_type).await?;
        let first = self.first_of_each(&shards, |sql, shard| {
            let (table, scheduled) = (shard.task_table(), TaskState::Scheduled.code());
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {scheduled}"));
            sql.push(" ORDER BY order_time");
        });
        Ok(first.await?.into_iter().flatten().min())
    }

    /// Those of the shards that hold a SCHEDULED task whose time has come.
    async fn with_due(&self, shards: &[ShardId]) -> Result<Vec<ShardId>, StoreError> {
        let now = now_sql(self.backend());
        let first = self.first_of_each(shards, |sql, shard| {
            let (table, scheduled) = (shard.task_table(), TaskState::Scheduled.code());
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {scheduled}"));
            sql.push(&format!(" AND order_time <= {now} ORDER BY order_time"));
        });
        let found = shards.iter().zip(first.await?).filter(|(_, first)| first.is_some());
        Ok(found.map(|(shard, _)| shard.clone()).collect())
    }
}

async fn promote_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<Vec<Task>, StoreError> {
    if let Some(fence) = work.fence {
        check_fence(store, tx, fence).await?;
    }
    let mut promoted: Vec<Task> = Vec::new();
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    let (now, columns) = (now_sql(store.backend()), row::columns("", Parts::NONE));
    for shard in &work.shards {
        let left = i64::from(work.limit) - promoted.len() as i64;
        if left <= 0 {
            break;
        }
        let (table, scheduled) = (shard.task_table(), TaskState::Scheduled.code());
        let mut sql = store.sql(&format!(
            "SELECT {now}, {columns} FROM {table} \
             WHERE state = {scheduled} AND order_time <= {now} \
             ORDER BY order_time, id LIMIT "
        ));
        sql.bind(left).push(for_update_skip(store.backend()));
        let mut due = Vec::new();
        let mut now_ms = 0;
        for found in sql.all(tx).await? {
            now_ms = found.try_get_by_index(0)?;
            due.push(row::read_task(&found, 1, shard, Parts::NONE)?.task);
        }
        let keys: Vec<i64> = due.iter().map(|task| task.id.key).collect();
        let mut batch = Batch::of(shard, due);
        for key in keys {
            if let Ok(Some(task)) = batch.apply(key, &Event::Promote, now_ms, &mut ledger) {
                promoted.push(task.clone());
            }
        }
        last_ms = last_ms.max(now_ms);
        batch.write(store, tx).await?;
    }
    ledger.write(store, tx, last_ms).await?;
    Ok(promoted)
}

//! The shard that takes a type's new tasks, made on first use.

use std::time::Duration;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};
use asyncflow_migrations::shard::{Names, statements};
use sea_orm::ConnectionTrait;

use crate::{Store, backend::or_ignore, error::StoreError};

/// Two brokers that make the same tables at once can trip over each other's catalog entries.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE_MS: u64 = 25;

impl Store {
    /// The shard that new tasks of a type go into; the first one is made when there is none.
    /// Registry row CREATING, then the tables, then OPEN: whoever finds a row CREATING goes on with
    /// it, so that a broker that died in between leaves nothing stuck.
    ///
    /// # Errors
    /// `NoSuchShard` when every shard is closed and the governor has not opened the next one yet;
    /// those of the database.
    pub async fn open_shard(&self, task_type: &TypeName) -> Result<ShardId, StoreError> {
        if let Some(shard) = newest_open(&self.shards_of(task_type).await?) {
            return Ok(shard);
        }
        let mut attempt = 1;
        loop {
            match self.make_shard(task_type).await {
                Ok(shard) => return Ok(shard),
                Err(error) if attempt >= ATTEMPTS_MAX => return Err(error.exhausted()),
                Err(
                    error @ (StoreError::Contended(_)
                    | StoreError::Duplicate(_)
                    | StoreError::Refused(_)),
                ) => {
                    tracing::debug!(%error, %task_type, "making a shard again");
                    tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    /// Makes the shard behind the newest one and lets it take the new tasks; the older ones are
    /// closed. Repeating it after a crash goes on where it stopped.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn roll_shard(&self, task_type: &TypeName) -> Result<ShardId, StoreError> {
        let shards = self.reload_shards(task_type).await?;
        let creating = shards.iter().find(|shard| shard.state == ShardState::Creating);
        let number = match (creating, shards.last()) {
            (Some(shard), _) => shard.id.number,
            (None, last) => last.map_or(1, |last| last.id.number + 1),
        };
        let id = ShardId { task_type: task_type.clone(), number };
        self.register_shard(&id).await?;
        self.create_tables(&id).await?;
        self.set_open(&id).await?;
        let now_ms = self.now_ms().await?;
        let mut sql = self.sql("UPDATE shards SET version = version + 1, state = ");
        sql.bind(ShardState::Closed.code()).push(", update_time_ms = ").bind(now_ms);
        sql.push(" WHERE task_type = ").bind(task_type.as_str());
        sql.push(" AND number < ").bind(number);
        sql.push(" AND state = ").bind(ShardState::Open.code());
        sql.run(self.writer()).await?;
        self.shard_cache().forget(task_type);
        Ok(id)
    }

    async fn make_shard(&self, task_type: &TypeName) -> Result<ShardId, StoreError> {
        let shards = self.reload_shards(task_type).await?;
        if let Some(shard) = newest_open(&shards) {
            return Ok(shard);
        }
        let creating = shards.iter().find(|shard| shard.state == ShardState::Creating);
        let number = match (creating, shards.last()) {
            (Some(shard), _) => shard.id.number,
            (None, Some(last)) => last.id.number + 1,
            (None, None) => 1,
        };
        let id = ShardId { task_type: task_type.clone(), number };
        self.register_shard(&id).await?;
        self.create_tables(&id).await?;
        self.set_open(&id).await?;
        self.shard_cache().forget(task_type);
        newest_open(&self.reload_shards(task_type).await?).ok_or(StoreError::NoSuchShard)
    }

    async fn register_shard(&self, id: &ShardId) -> Result<(), StoreError> {
        let now_ms = self.now_ms().await?;
        let mut sql = self.sql(
            "INSERT INTO shards (task_type, number, state, version, create_time_ms, \
             update_time_ms) VALUES ",
        );
        sql.tuple([
            id.task_type.as_str().into(),
            id.number.into(),
            ShardState::Creating.code().into(),
            1_i64.into(),
            now_ms.into(),
            now_ms.into(),
        ]);
        sql.push(&or_ignore(self.backend(), "task_type, number", "number"));
        sql.run(self.writer()).await?;
        Ok(())
    }

    async fn create_tables(&self, id: &ShardId) -> Result<(), StoreError> {
        let (tasks, attempts, labels) = (id.task_table(), id.attempt_table(), id.label_table());
        let names = Names { tasks: &tasks, attempts: &attempts, labels: &labels };
        for statement in statements(names, self.backend()) {
            self.writer().execute_unprepared(&statement).await?;
        }
        Ok(())
    }

    async fn set_open(&self, id: &ShardId) -> Result<(), StoreError> {
        let now_ms = self.now_ms().await?;
        let mut sql = self.sql("UPDATE shards SET version = version + 1, state = ");
        sql.bind(ShardState::Open.code()).push(", update_time_ms = ").bind(now_ms);
        sql.push(" WHERE task_type = ").bind(id.task_type.as_str());
        sql.push(" AND number = ").bind(id.number);
        sql.push(" AND state = ").bind(ShardState::Creating.code());
        sql.run(self.writer()).await?;
        Ok(())
    }
}

fn newest_open(shards: &[Shard]) -> Option<ShardId> {
    let open = shards.iter().rev().find(|shard| shard.state == ShardState::Open)?;
    Some(open.id.clone())
}

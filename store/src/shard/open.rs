//! The shard that takes a type's new tasks, made on first use.

use std::time::Duration;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};

use sea_orm::ConnectionTrait;

use crate::{Store, error::StoreError};

/// Two brokers that make the same tables at once can trip over each other's catalog entries.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE_MS: u64 = 25;

impl Store {
    /// The shard that new tasks of a type go into; the first one is made when there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_shard(&self, task_type: &TypeName) -> Result<ShardId, StoreError> {
        if let Some(shard) = newest_open(&self.shards_of(task_type).await?) {
            return Ok(shard);
        }
        let mut attempt = 1;
        loop {
            let shards = self.reload_shards(task_type).await?;
            if let Some(shard) = newest_open(&shards) {
                return Ok(shard);
            }
            match self.next_shard(task_type, &shards, None).await {
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

    /// The same inside a transaction, where another connection of the pool must not be waited for,
    /// and no table can be made: `None` when the type has no shard yet.
    pub(crate) async fn open_shard_within(
        &self,
        db: &impl ConnectionTrait,
        task_type: &TypeName,
    ) -> Result<Option<ShardId>, StoreError> {
        let known = self.shard_cache().get(task_type);
        if let Some(shard) = known.as_deref().and_then(newest_open) {
            return Ok(Some(shard));
        }
        let mut sql = self.sql("SELECT number FROM shards WHERE task_type = ");
        sql.bind(task_type.as_str()).push(" AND state = ").bind(ShardState::Open.code());
        let row = sql.push(" ORDER BY number DESC LIMIT 1").one(db).await?;
        let number: Option<i32> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(number.map(|number| ShardId { task_type: task_type.clone(), number }))
    }
}

/// Where new tasks go.
pub(super) fn newest_open(shards: &[Shard]) -> Option<ShardId> {
    let open = shards.iter().rev().find(|shard| shard.state == ShardState::Open)?;
    Some(open.id.clone())
}

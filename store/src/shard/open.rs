//! The shard that takes a type's new tasks, made on first use.

use std::time::Duration;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};

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
}

/// Where new tasks go.
pub(super) fn newest_open(shards: &[Shard]) -> Option<ShardId> {
    let open = shards.iter().rev().find(|shard| shard.state == ShardState::Open)?;
    Some(open.id.clone())
}

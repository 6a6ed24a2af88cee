//! Reads the registry of shards.

use std::sync::Arc;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};
use sea_orm::DatabaseTransaction;

use super::{COLUMNS, Place, read};
use crate::{Store, error::StoreError};

impl Store {
    /// All shards, or those of one task type, in order of type and number; also the dropped ones.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_shards(
        &self,
        task_type: Option<&TypeName>,
    ) -> Result<Vec<Shard>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {COLUMNS} FROM shards"));
        if let Some(task_type) = task_type {
            sql.push(" WHERE task_type = ").bind(task_type.as_str());
        }
        sql.push(" ORDER BY task_type, number");
        sql.all(self.reader()).await?.iter().map(read).collect()
    }

    /// The shards of a type that claims look into, oldest first; at most 2 seconds old.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn active_shards(&self, task_type: &TypeName) -> Result<Vec<ShardId>, StoreError> {
        let shards = self.shards_of(task_type).await?;
        Ok(self.active(&shards).map(|shard| shard.id.clone()).collect())
    }

    /// Those among a type's shards that claims look into, oldest first.
    pub(crate) fn active<'a>(&self, shards: &'a [Shard]) -> impl Iterator<Item = &'a Shard> {
        let active =
            shards.iter().filter(|s| matches!(s.state, ShardState::Open | ShardState::Closed));
        active.take(if self.is_off("shards.all_are_looked_at") { 1 } else { usize::MAX })
    }

    /// The shards that can be read, of one type or of all, in order of type and number.
    pub(crate) async fn readable_shards(
        &self,
        task_type: Option<&TypeName>,
    ) -> Result<Vec<ShardId>, StoreError> {
        let shards = match task_type {
            Some(task_type) => self.shards_of(task_type).await?.to_vec(),
            None => self.list_shards(None).await?,
        };
        Ok(shards.into_iter().filter(|shard| is_readable(shard.state)).map(|s| s.id).collect())
    }

    pub(crate) async fn shards_of(&self, task_type: &TypeName) -> Result<Arc<[Shard]>, StoreError> {
        match self.shard_cache().get(task_type) {
            Some(shards) => Ok(shards),
            None => self.reload_shards(task_type).await,
        }
    }

    pub(crate) async fn reload_shards(
        &self,
        task_type: &TypeName,
    ) -> Result<Arc<[Shard]>, StoreError> {
        let shards: Arc<[Shard]> = self.list_shards(Some(task_type)).await?.into();
        self.shard_cache().put(task_type, &shards);
        Ok(shards)
    }

    /// Whether the tables of the shard that an id names are there. A shard that the cache does not
    /// know may be newer than it.
    pub(crate) async fn place(&self, shard: &ShardId) -> Result<Place, StoreError> {
        let find = |shards: &[Shard]| {
            let found = shards.iter().find(|known| known.id == *shard)?;
            Some(match found.state {
                ShardState::Gone => Place::Gone { archive: found.archive.clone() },
                // Its tables may be on their way out or back: that is for their reader to see.
                _ => Place::Here,
            })
        };
        if let Some(place) = find(&self.shards_of(&shard.task_type).await?) {
            return Ok(place);
        }
        let shards = self.reload_shards(&shard.task_type).await?;
        Ok(find(&shards).unwrap_or(Place::Unknown))
    }
}

/// Whether its tables are there.
pub(super) fn is_readable(state: ShardState) -> bool {
    matches!(state, ShardState::Open | ShardState::Closed | ShardState::Drained)
}

/// Whether a shard's tables are there, and stay for this moment. A statement that names a table
/// which is not would undo the whole transaction, whenever it is repeated.
pub(crate) async fn is_there(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
) -> Result<bool, StoreError> {
    let state = state_within(store, tx, shard).await?;
    Ok(state.is_some_and(|state| !matches!(state, ShardState::Dropping | ShardState::Gone)))
}

/// Whether a shard's tables will never be there again. One that is being dropped may come back.
pub(crate) async fn is_gone(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
) -> Result<bool, StoreError> {
    let state = state_within(store, tx, shard).await?;
    Ok(state.is_none_or(|state| state == ShardState::Gone))
}

async fn state_within(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
) -> Result<Option<ShardState>, StoreError> {
    let mut sql = store.sql("SELECT state FROM shards WHERE task_type = ");
    sql.bind(shard.task_type.as_str()).push(" AND number = ").bind(shard.number);
    let row = sql.one(tx).await?;
    let state: Option<i16> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    Ok(state.and_then(ShardState::from_code))
}

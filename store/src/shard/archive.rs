//! Notes where a shard's archive is.

use asyncflow_core::id::ShardId;
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::for_update,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

struct Note<'a> {
    shard: &'a ShardId,
    version: i64,
    location: &'a str,
    fence: &'a LeaderFence,
}

impl Store {
    /// Notes that the archive of a shard is complete at `location`, if the shard is still at the
    /// `version` at which it was archived: one that was opened again since then holds more.
    ///
    /// # Errors
    /// `Conflict` with the version in force; `NotFound`; `NotLeader`; those of the database.
    pub async fn set_archive(
        &self,
        shard: &ShardId,
        version: i64,
        location: &str,
        fence: &LeaderFence,
    ) -> Result<(), StoreError> {
        let note = Note { shard, version, location, fence };
        self.transact(&note, |store, tx, note| Box::pin(note_once(store, tx, note))).await?;
        self.shard_cache().forget(&shard.task_type);
        Ok(())
    }
}

async fn note_once(
    store: &Store,
    tx: &DatabaseTransaction,
    note: &Note<'_>,
) -> Result<(), StoreError> {
    check_fence(store, tx, note.fence).await?;
    let mut sql = store.sql("SELECT version FROM shards WHERE task_type = ");
    sql.bind(note.shard.task_type.as_str()).push(" AND number = ").bind(note.shard.number);
    let row = sql.push(for_update(store.backend())).one(tx).await?.ok_or(StoreError::NotFound)?;
    let current = row.try_get_by_index(0)?;
    if current != note.version {
        return Err(StoreError::Conflict { current });
    }
    let mut sql = store.sql("UPDATE shards SET archive = ");
    sql.bind(note.location).push(" WHERE task_type = ").bind(note.shard.task_type.as_str());
    sql.push(" AND number = ").bind(note.shard.number).run(tx).await?;
    Ok(())
}

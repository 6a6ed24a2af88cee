//! Reads tasks by id: one table each, hot or cold.

use std::collections::{BTreeMap, HashMap};

use asyncflow_core::{
    id::{ShardId, TaskId},
    task::FullTask,
};

use super::row::{self, Parts};
use crate::{Store, error::StoreError, shard::Place};

/// Keys per SELECT.
const KEYS_MAX: usize = 512;

/// Why there is no task to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GetError {
    #[error("there is no such task")]
    NotFound,
    /// Its shard was dropped by retention; where the manifest of its archive is, or empty.
    #[error("the task was removed by retention")]
    Expired { archive: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// One task.
    ///
    /// # Errors
    /// `NotFound`, `Expired`, those of the database.
    pub async fn get(&self, id: &TaskId, parts: Parts) -> Result<FullTask, GetError> {
        match self.place(&id.shard).await? {
            Place::Unknown => return Err(GetError::NotFound),
            Place::Gone { archive } => return Err(GetError::Expired { archive }),
            Place::Here => {}
        }
        match self.read_keys(&id.shard, &[id.key], parts).await {
            Ok(mut tasks) => tasks.pop().ok_or(GetError::NotFound),
            Err(StoreError::NoSuchTable(cause)) => {
                self.reload_shards(id.task_type()).await?;
                match self.place(&id.shard).await? {
                    Place::Gone { archive } => Err(GetError::Expired { archive }),
                    Place::Unknown => Err(GetError::NotFound),
                    Place::Here => Err(StoreError::NoSuchTable(cause).exhausted().into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Several tasks, in the order of `ids`; `None` where there is none (any more).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_many(
        &self,
        ids: &[TaskId],
        parts: Parts,
    ) -> Result<Vec<Option<FullTask>>, StoreError> {
        let mut by_shard: BTreeMap<&ShardId, Vec<i64>> = BTreeMap::new();
        for id in ids {
            by_shard.entry(&id.shard).or_default().push(id.key);
        }
        let mut found = HashMap::new();
        for (shard, keys) in by_shard {
            if self.place(shard).await? != Place::Here {
                continue;
            }
            for chunk in keys.chunks(KEYS_MAX) {
                let read = match self.read_keys(shard, chunk, parts).await {
                    Err(StoreError::NoSuchTable(_)) => {
                        self.shard_cache().forget(&shard.task_type);
                        break;
                    }
                    read => read?,
                };
                found.extend(read.into_iter().map(|full| (full.task.id.clone(), full)));
            }
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn read_keys(
        &self,
        shard: &ShardId,
        keys: &[i64],
        parts: Parts,
    ) -> Result<Vec<FullTask>, StoreError> {
        let columns = row::columns("", parts);
        let mut sql = self.sql(&format!("SELECT {columns} FROM {} WHERE ", shard.task_table()));
        sql.is_in("id", keys);
        let rows = sql.all(self.reader()).await?;
        rows.iter().map(|found| row::read_task(found, 0, shard, parts)).collect()
    }
}

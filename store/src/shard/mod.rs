//! The registry of shards: its rows, and a short cache of them.

mod archive;
mod count;
mod list;
mod open;
mod rows;
mod size;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use count::ShardCount;
pub use rows::{ShardPage, ShardRow};

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};
use sea_orm::QueryResult;

use crate::{clock::monotonic, error::StoreError, task_type::read_name};

const CACHE_MAX_AGE: Duration = Duration::from_secs(2);
const COLUMNS: &str = "task_type, number, state, version, create_time_ms, update_time_ms, \
     close_time_ms, drain_time_ms, archive";

/// What the registry says of a shard that an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its tables are there.
    Here,
    /// It was dropped.
    Gone,
    /// It never was.
    Unknown,
}

fn read(row: &QueryResult) -> Result<Shard, StoreError> {
    let state: i16 = row.try_get_by_index(2)?;
    let state = ShardState::from_code(state)
        .ok_or_else(|| StoreError::Corrupt(format!("the shard state {state}")))?;
    let task_type = read_name(row.try_get_by_index(0)?)?;
    Ok(Shard {
        id: ShardId { task_type, number: row.try_get_by_index(1)? },
        state,
        version: row.try_get_by_index(3)?,
        create_time_ms: row.try_get_by_index(4)?,
        update_time_ms: row.try_get_by_index(5)?,
        close_time_ms: row.try_get_by_index(6)?,
        drain_time_ms: row.try_get_by_index(7)?,
        archive: row.try_get_by_index::<Option<String>>(8)?.unwrap_or_default(),
    })
}

/// Shards per task type that were read a moment ago. Types without shards are not kept, so that
/// made-up ids cannot fill it.
#[derive(Debug, Default)]
pub(crate) struct ShardCache(Mutex<HashMap<TypeName, Cached>>);

/// When it was read, and what.
type Cached = (Instant, Arc<[Shard]>);

impl ShardCache {
    fn get(&self, task_type: &TypeName) -> Option<Arc<[Shard]>> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, shards) = cached.get(task_type)?;
        (monotonic().duration_since(*read) < CACHE_MAX_AGE).then(|| shards.clone())
    }

    fn put(&self, task_type: &TypeName, shards: &Arc<[Shard]>) {
        if !shards.is_empty() {
            let entry = (monotonic(), shards.clone());
            let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cached.insert(task_type.clone(), entry);
        }
    }

    /// Forgets a type's shards: a table was missing or was just made.
    pub fn forget(&self, task_type: &TypeName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(task_type);
    }
}

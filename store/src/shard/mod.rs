//! The registry of shards: its rows, a short cache of them, and the steps of a shard's life.
//!
//! ```text
//!            roll                     drain               drop
//!  CREATING ─────▶ OPEN ─────▶ CLOSED ─────▶ DRAINED ─────▶ DROPPING ─────▶ GONE
//!                                 ▲              │              │
//!                                 └──────────────┴──────────────┘
//!                                  a task in it is live again, or kept for longer
//! ```
//!
//! Every step begins by looking and can be repeated, so that whoever leads next goes on where a
//! governor was killed. A broker may act on a row of the registry that is out of date: what it
//! writes into a closed shard is found there, because claims look into every shard that is not
//! DRAINED, and DRAINED is looked at again and again; what it writes into a dropped one fails,
//! because the table is not there, and the broker reads the registry anew.

mod archive;
mod check;
mod count;
mod ddl;
mod drain;
mod drop;
mod fold;
mod list;
mod open;
mod probe;
mod reconcile;
mod roll;
mod room;
mod rows;
mod size;
mod turn;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use check::DropCheck;
pub use count::ShardCount;
pub use drain::Drained;
pub use drop::{Archived, DropOutcome, DropTerms};
pub(crate) use list::{is_gone, is_there};
pub use reconcile::{CompareLimits, Compared, Comparison, Drift};
pub use rows::{ShardPage, ShardRow};
pub(crate) use turn::Turns;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};
use sea_orm::{DatabaseTransaction, QueryResult};

use crate::{
    Store,
    clock::monotonic,
    error::StoreError,
    sql::Sql,
    task_type::read_name,
    wake::{Wake, WakeReceiver},
};

/// The topic that is rung when a shard's state changed.
const TOPIC: &str = "shards";
const CACHE_MAX_AGE: Duration = Duration::from_secs(2);
const COLUMNS: &str = "task_type, number, state, version, create_time_ms, update_time_ms, \
     close_time_ms, drain_time_ms, archive";

/// What the registry says of a shard that an id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Its tables are there, unless they are being dropped at this moment.
    Here,
    /// It was dropped; where the manifest of its archive is, or empty.
    Gone { archive: String },
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

/// A change of a shard's state, made only if it is in the state that it was seen in.
#[derive(Clone, Copy)]
struct Step<'a> {
    shard: &'a ShardId,
    from: ShardState,
    to: ShardState,
    /// And only if nothing has changed it since.
    version: Option<i64>,
    now_ms: i64,
}

impl Step<'_> {
    /// Makes it; says whether it was made.
    async fn write(&self, store: &Store, tx: &DatabaseTransaction) -> Result<bool, StoreError> {
        let mut sql = self.update(store);
        sql.push(" WHERE task_type = ").bind(self.shard.task_type.as_str());
        sql.push(" AND number = ").bind(self.shard.number);
        sql.push(" AND state = ").bind(self.from.code());
        if let Some(version) = self.version {
            sql.push(" AND version = ").bind(version);
        }
        Ok(sql.run(tx).await? == 1)
    }

    fn update(&self, store: &Store) -> Sql {
        let mut sql = store.sql("UPDATE shards SET state = ");
        sql.bind(self.to.code()).push(", update_time_ms = ").bind(self.now_ms);
        // A drop that is begun and given up changes nothing in the shard: its archive still fits.
        let is_of_a_drop = [self.from, self.to].contains(&ShardState::Dropping);
        if !(is_of_a_drop && [self.from, self.to].contains(&ShardState::Drained)) {
            sql.push(", version = version + 1");
        }
        match self.to {
            ShardState::Closed if self.from == ShardState::Open => {
                sql.push(", close_time_ms = ").bind(self.now_ms);
            }
            // What was archived is not all of it any more.
            ShardState::Closed => {
                sql.push(", drain_time_ms = NULL, archive = NULL");
            }
            ShardState::Drained if self.from == ShardState::Closed => {
                sql.push(", drain_time_ms = ").bind(self.now_ms);
            }
            _ => {}
        }
        sql
    }
}

impl Store {
    /// Everybody who knows the shards of this type reads them anew.
    pub(crate) fn shards_changed(&self, task_type: &TypeName) {
        self.shard_cache().forget(task_type);
        self.wake().ring([TOPIC]);
    }
}

/// Shards per task type that were read a moment ago. Types without shards are not kept, so that
/// made-up ids cannot fill it. Emptied when somebody rings [`TOPIC`].
pub(crate) struct ShardCache(Mutex<Cached>);

struct Cached {
    shards: HashMap<TypeName, (Instant, Arc<[Shard]>)>,
    changed: WakeReceiver,
}

impl ShardCache {
    pub fn new(wake: &Wake) -> Self {
        Self(Mutex::new(Cached { shards: HashMap::new(), changed: wake.subscribe(TOPIC) }))
    }

    fn get(&self, task_type: &TypeName) -> Option<Arc<[Shard]>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.changed.take_rung() {
            cached.shards.clear();
        }
        let (read, shards) = cached.shards.get(task_type)?;
        (monotonic().duration_since(*read) < CACHE_MAX_AGE).then(|| shards.clone())
    }

    fn put(&self, task_type: &TypeName, shards: &Arc<[Shard]>) {
        if !shards.is_empty() {
            let entry = (monotonic(), shards.clone());
            let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cached.shards.insert(task_type.clone(), entry);
        }
    }

    /// Forgets a type's shards: a table was missing or was just made.
    pub fn forget(&self, task_type: &TypeName) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.shards.remove(task_type);
    }
}

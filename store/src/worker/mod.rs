//! Workers and their sessions.
//!
//! A session is one registration of one incarnation of a worker; every write of a worker carries
//! it.

mod end;
mod list;
mod register;
mod touch;

use std::collections::BTreeMap;

use sea_orm::QueryResult;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

const COLUMNS: &str =
    "worker_id, session_id, incarnation, info, register_time_ms, seen_time_ms, draining, running";

/// What [`read`] reads, of the table `workers`.
pub(crate) const READ_COLUMNS: &str = "worker_id, session_id, incarnation, info, \
     register_time_ms, seen_time_ms, draining, running, (SELECT COUNT(*) FROM host_orders \
     WHERE host_orders.worker_id = workers.worker_id AND host_orders.name IN ('cordon', 'drain'))";
/// How many columns that are.
pub(crate) const READ_COUNT: usize = 9;

/// What a worker says of itself when it registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    pub worker_id: String,
    /// Differs after every restart: boot id and a random part.
    pub incarnation: String,
    pub host: String,
    pub version: String,
    /// The user in whose name it works.
    pub user: String,
    pub slots: i32,
    pub task_types: Vec<String>,
    /// It also takes commands of other types.
    pub takes_commands: bool,
    pub labels: BTreeMap<String, String>,
}

/// A registered worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    pub registration: Registration,
    pub session_id: i64,
    /// The session of the incarnation before, which this one replaced.
    pub former_session_id: Option<i64>,
    pub register_time_ms: i64,
    /// When it was last heard of, by the database's clock.
    pub seen_time_ms: i64,
    /// It takes no more tasks.
    pub draining: bool,
    /// Tasks that it said it runs: in its last report, or its last heartbeat if it reports nothing.
    pub running: i32,
    /// An order says that it gets no more tasks.
    pub is_closed: bool,
}

impl WorkerRow {
    /// Where it runs. One that does not say so is taken for a host of its own.
    pub fn host(&self) -> &str {
        let Registration { host, worker_id, .. } = &self.registration;
        if host.is_empty() { worker_id } else { host }
    }
}

/// The answer to a registration; the same when the incarnation repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub session_id: i64,
    /// The session of the incarnation before: move what the worker adopts, and give back the rest
    /// with [`crate::Store::release_session`].
    pub former_session_id: Option<i64>,
}

/// A worker was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    pub session_id: i64,
    pub draining: bool,
    pub running: i32,
}

/// The part of the row that nobody searches by.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Info {
    host: String,
    version: String,
    user: String,
    slots: i32,
    task_types: Vec<String>,
    takes_commands: bool,
    labels: BTreeMap<String, String>,
    former_session_id: Option<i64>,
}

fn encode_info(
    registration: &Registration,
    former_session_id: Option<i64>,
) -> Result<Vec<u8>, StoreError> {
    let Registration { host, version, user, slots, task_types, takes_commands, labels, .. } =
        registration.clone();
    let info =
        Info { host, version, user, slots, task_types, takes_commands, labels, former_session_id };
    serde_json::to_vec(&info).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(crate) fn read(row: &QueryResult) -> Result<WorkerRow, StoreError> {
    let info: Vec<u8> = row.try_get_by_index(3)?;
    let Info { host, version, user, slots, task_types, takes_commands, labels, former_session_id } =
        serde_json::from_slice(&info).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let registration = Registration {
        worker_id: row.try_get_by_index(0)?,
        incarnation: row.try_get_by_index(2)?,
        host,
        version,
        user,
        slots,
        task_types,
        takes_commands,
        labels,
    };
    Ok(WorkerRow {
        registration,
        session_id: row.try_get_by_index(1)?,
        former_session_id,
        register_time_ms: row.try_get_by_index(4)?,
        seen_time_ms: row.try_get_by_index(5)?,
        draining: row.try_get_by_index::<i16>(6)? != 0,
        running: row.try_get_by_index(7)?,
        is_closed: row.try_get_by_index::<i64>(8)? > 0,
    })
}

//! What each acquire got, so that a repeated one gets the same.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::TaskId,
    placement::Placed,
    task::{FullTask, Task},
};
use sea_orm::{DatabaseTransaction, Value};
use serde::{Deserialize, Serialize};

use super::{Parts, Taker};
use crate::{
    Store,
    error::StoreError,
    leader::LeaderFence,
    sql::{InsertInto, insert_rows},
};

/// A task that a session holds, and what it has of its host.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    pub full: FullTask,
    /// `None` for one that needs only a slot.
    pub placed: Option<Placed>,
}

impl From<FullTask> for Assigned {
    fn from(full: FullTask) -> Self {
        Self { full, placed: None }
    }
}

/// A task of an acquire, as it is stored: id, attempt, and what it has of its host.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Got {
    Placed(String, i32, Placed),
    Plain(String, i32),
}

impl Got {
    fn id(&self) -> &str {
        match self {
            Self::Placed(id, ..) | Self::Plain(id, _) => id,
        }
    }

    fn rest(self) -> (i32, Option<Placed>) {
        match self {
            Self::Placed(_, attempt, placed) => (attempt, Some(placed)),
            Self::Plain(_, attempt) => (attempt, None),
        }
    }
}

impl Store {
    /// What a session got by an acquire id, as far as it still holds it: the answer to a repeated
    /// acquire. `None` when nothing was claimed under that id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn acquired(
        &self,
        session_id: i64,
        acquire_id: &str,
    ) -> Result<Option<Vec<Assigned>>, StoreError> {
        let mut sql = self.sql("SELECT tasks FROM acquires WHERE session_id = ");
        sql.bind(session_id).push(" AND acquire_id = ").bind(acquire_id);
        let Some(row) = sql.one(self.reader()).await? else { return Ok(None) };
        let stored: Vec<u8> = row.try_get_by_index(0)?;
        let stored: Vec<Got> = serde_json::from_slice(&stored)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let ids: Vec<TaskId> = stored.iter().filter_map(|got| got.id().parse().ok()).collect();
        let held = self.get_many(&ids, Parts::CLAIM).await?.into_iter().zip(stored);
        let held = held.filter_map(|(full, got)| {
            let (attempt, placed) = got.rest();
            let full = full.filter(|full| {
                let task = &full.task;
                task.attempt == attempt
                    && task.holder.session_id == session_id
                    && task.state.is_leased()
            })?;
            Some(Assigned { full, placed })
        });
        Ok(Some(held.collect()))
    }

    /// Forgets acquires older than `before_ms`, at most `limit`; returns how many. With a
    /// fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_acquires(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.purge_by_time("acquires", "create_time_ms", before_ms, limit, fence).await
    }
}

/// Notes what takers got. An acquire id that was used before is a duplicate key.
pub(super) async fn note<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    got: impl Iterator<Item = (&'a Taker, &'a Task, Option<&'a Placed>)>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut by_acquire: BTreeMap<(i64, &str), Vec<Got>> = BTreeMap::new();
    for (taker, task, placed) in got.filter(|(taker, ..)| !taker.acquire_id.is_empty()) {
        let tasks = by_acquire.entry((taker.session_id, &taker.acquire_id)).or_default();
        let (id, attempt) = (task.id.to_string(), task.attempt);
        tasks.push(match placed {
            Some(placed) => Got::Placed(id, attempt, placed.clone()),
            None => Got::Plain(id, attempt),
        });
    }
    if by_acquire.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(by_acquire.len());
    for ((session_id, acquire_id), tasks) in by_acquire {
        let tasks =
            serde_json::to_vec(&tasks).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        rows.push(vec![session_id.into(), acquire_id.into(), tasks.into(), now_ms.into()]);
    }
    let columns = ["session_id", "acquire_id", "tasks", "create_time_ms"];
    insert_rows(store, tx, InsertInto { table: "acquires", columns: &columns, or: "" }, rows).await
}

/// Which of the takers, by their place, have used their acquire id before.
pub(super) async fn replays<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    takers: impl Iterator<Item = &'a Taker> + Send,
) -> Result<Vec<usize>, StoreError> {
    let mut replays = Vec::new();
    for (at, taker) in takers.enumerate() {
        let mut sql = store.sql("SELECT 1 FROM acquires WHERE session_id = ");
        sql.bind(taker.session_id).push(" AND acquire_id = ").bind(taker.acquire_id.as_str());
        if sql.one(tx).await?.is_some() {
            replays.push(at);
        }
    }
    Ok(replays)
}

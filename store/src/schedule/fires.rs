//! What became of fire times.

use std::collections::HashMap;

use asyncflow_core::{
    id::ScheduleId,
    limits::MESSAGE_BYTES_MAX,
    schedule::{FireCause, FireOutcome, action::Run},
    validate::text,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use super::standing::{read_run, write_run};
use crate::{
    Store,
    error::StoreError,
    leader::LeaderFence,
    sql::{InsertInto, insert_rows},
};

/// Schedules per SELECT … IN.
const KEYS_MAX: usize = 512;

const COLUMNS: [&str; 8] =
    ["schedule_id", "fire_ms", "cause", "outcome", "time_ms", "run", "request_id", "message"];

/// What became of a fire time. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    pub schedule: ScheduleId,
    pub fire_ms: i64,
    pub cause: FireCause,
    pub outcome: FireOutcome,
    /// When it was dealt with.
    pub time_ms: i64,
    /// What it made.
    pub run: Option<Run>,
    /// Of the call that asked for a run at once.
    pub request_id: Option<String>,
    /// Why it was missed or failed, for people.
    pub message: Option<String>,
}

fn read(row: &QueryResult) -> Result<Fire, StoreError> {
    let (cause, outcome): (i16, i16) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
    let unknown = || StoreError::Corrupt(format!("a fire time of cause {cause}, {outcome}"));
    Ok(Fire {
        schedule: ScheduleId(row.try_get_by_index(0)?),
        fire_ms: row.try_get_by_index(1)?,
        cause: FireCause::from_code(cause).ok_or_else(unknown)?,
        outcome: FireOutcome::from_code(outcome).ok_or_else(unknown)?,
        time_ms: row.try_get_by_index(4)?,
        run: read_run(&row.try_get_by_index::<String>(5)?)?,
        request_id: row.try_get_by_index(6)?,
        message: row.try_get_by_index(7)?,
    })
}

fn message(fire: &Fire) -> Value {
    fire.message.as_ref().map(|message| text::cut(message, MESSAGE_BYTES_MAX)).into()
}

/// What is noted of these fire times, which are few of each schedule and near to each other.
pub(super) async fn known(
    store: &Store,
    tx: &DatabaseTransaction,
    keys: &[(i64, i64)],
) -> Result<HashMap<(i64, i64), FireOutcome>, StoreError> {
    let mut known = HashMap::new();
    let wanted: std::collections::HashSet<_> = keys.iter().copied().collect();
    for some in keys.chunks(KEYS_MAX) {
        let times = || some.iter().map(|(_, fire_ms)| *fire_ms);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { continue };
        let mut ids: Vec<i64> = some.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut sql = store.sql("SELECT schedule_id, fire_ms, outcome FROM schedule_fires WHERE ");
        sql.is_in("schedule_id", &ids).push(" AND fire_ms >= ").bind(first);
        sql.push(" AND fire_ms <= ").bind(last);
        for row in sql.all(tx).await? {
            let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let outcome: i16 = row.try_get_by_index(2)?;
            let outcome = FireOutcome::from_code(outcome)
                .ok_or_else(|| StoreError::Corrupt(format!("the outcome {outcome}")))?;
            if wanted.contains(&key) {
                known.insert(key, outcome);
            }
        }
    }
    Ok(known)
}

/// Notes what became of fire times of which nothing was noted.
///
/// # Errors
/// `Duplicate` when something was.
pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    fires: &[Fire],
) -> Result<(), StoreError> {
    let rows = fires.iter().map(|fire| -> Vec<Value> {
        vec![
            fire.schedule.0.into(),
            fire.fire_ms.into(),
            fire.cause.code().into(),
            fire.outcome.code().into(),
            fire.time_ms.into(),
            write_run(fire.run.as_ref()),
            fire.request_id.clone().into(),
            message(fire),
        ]
    });
    let into = InsertInto { table: "schedule_fires", columns: &COLUMNS, or: "" };
    insert_rows(store, tx, into, rows).await
}

/// Notes that a fire time which had made nothing has made something now, or failed to.
pub(super) async fn replace(
    store: &Store,
    tx: &DatabaseTransaction,
    fire: &Fire,
) -> Result<(), StoreError> {
    let mut sql = store.sql("UPDATE schedule_fires SET cause = ");
    sql.bind(fire.cause.code()).push(", outcome = ").bind(fire.outcome.code());
    sql.push(", time_ms = ").bind(fire.time_ms).push(", run = ");
    sql.bind(write_run(fire.run.as_ref())).push(", message = ").bind(message(fire));
    sql.push(" WHERE schedule_id = ").bind(fire.schedule.0);
    sql.push(" AND fire_ms = ").bind(fire.fire_ms).push(" AND run = ").bind("");
    match sql.run(tx).await? {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(format!(
            "{} fired at {} without its lock",
            fire.schedule, fire.fire_ms
        ))),
    }
}

/// The run that a request has asked for.
pub(super) async fn by_request(
    store: &Store,
    db: &impl ConnectionTrait,
    id: ScheduleId,
    request_id: &str,
) -> Result<Option<Fire>, StoreError> {
    let columns = COLUMNS.join(", ");
    let mut sql = store.sql(&format!("SELECT {columns} FROM schedule_fires WHERE schedule_id = "));
    sql.bind(id.0).push(" AND request_id = ").bind(request_id);
    sql.one(db).await?.as_ref().map(read).transpose()
}

impl Store {
    /// What became of the last fire times of a schedule, latest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_fires(&self, id: ScheduleId, limit: u32) -> Result<Vec<Fire>, StoreError> {
        let columns = COLUMNS.join(", ");
        let mut sql =
            self.sql(&format!("SELECT {columns} FROM schedule_fires WHERE schedule_id = "));
        sql.bind(id.0).push(" ORDER BY fire_ms DESC LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }

    /// Forgets what became of fire times before `before_ms`, at most `limit`; returns how many.
    /// With a fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_fires(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.purge_by_time("schedule_fires", "time_ms", before_ms, limit, fence).await
    }
}

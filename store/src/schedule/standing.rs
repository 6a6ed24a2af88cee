//! Where schedules stand: narrow rows, locked by whoever changes anything about a schedule.

use std::collections::BTreeMap;

use asyncflow_core::id::ScheduleId;
use asyncflow_core::schedule::{ScheduleState, action::Run, spec::Spec};
use sea_orm::{DatabaseTransaction, QueryResult, Value};

use crate::{
    Store,
    backend::for_update,
    error::StoreError,
    sql::{InsertInto, insert_rows},
    task::time_ms,
    workflow::or_replace,
};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;
/// `due_ms` of a schedule that need not be looked at.
const NEVER: i64 = i64::MAX;

pub(super) const COLUMNS: [&str; 15] = [
    "schedule_id",
    "version",
    "state",
    "next_ms",
    "due_ms",
    "queued_ms",
    "last_fire_ms",
    "last_run",
    "last_error",
    "fired",
    "skipped",
    "missed",
    "failed",
    "bytes",
    "cost",
];

/// Where a schedule stands. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// +1 at every write.
    pub version: i64,
    pub state: ScheduleState,
    /// The fire time that comes next.
    pub next_ms: Option<i64>,
    /// When that is due: put off by jitter, or for good.
    pub(super) due_ms: i64,
    /// A fire time that waits for the end of the last run.
    pub queued_ms: Option<i64>,
    /// The fire time that fired last because its time had come, and what it made.
    pub last_fire_ms: Option<i64>,
    pub last_run: Option<Run>,
    /// Why the last fire time made nothing; empty when it did.
    pub last_error: String,
    pub fired: i64,
    pub skipped: i64,
    pub missed: i64,
    pub failed: i64,
    /// What its definition takes.
    pub(super) bytes: i64,
    /// The work of a firing, in tasks.
    pub(super) cost: i32,
}

impl Standing {
    /// Of a schedule that was not there before.
    pub(super) fn new() -> Self {
        Self {
            version: 0,
            state: ScheduleState::Active,
            next_ms: None,
            due_ms: NEVER,
            queued_ms: None,
            last_fire_ms: None,
            last_run: None,
            last_error: String::new(),
            fired: 0,
            skipped: 0,
            missed: 0,
            failed: 0,
            bytes: 0,
            cost: 1,
        }
    }

    /// Goes on at this fire time; without one, and when it is not paused, it is over.
    pub(super) fn go_on(&mut self, id: ScheduleId, spec: &Spec, next_ms: Option<i64>) {
        self.version += 1;
        if self.state == ScheduleState::Paused {
            (self.next_ms, self.due_ms, self.queued_ms) = (None, NEVER, None);
            return;
        }
        self.next_ms = next_ms;
        self.due_ms = next_ms.map_or(NEVER, |next_ms| spec.due_ms(id, next_ms));
        self.state =
            if next_ms.is_some() { ScheduleState::Active } else { ScheduleState::Finished };
    }

    /// Is looked at again at this time, and not before.
    pub(super) fn put_off(&mut self, until_ms: i64) {
        self.version += 1;
        self.due_ms = until_ms;
    }
}

/// Reads the columns from `at` on.
pub(super) fn read(row: &QueryResult, at: usize) -> Result<(i64, Standing), StoreError> {
    let state: i16 = row.try_get_by_index(at + 2)?;
    let state = ScheduleState::from_code(state)
        .ok_or_else(|| StoreError::Corrupt(format!("the schedule state {state}")))?;
    let last_run: String = row.try_get_by_index(at + 7)?;
    let standing = Standing {
        version: row.try_get_by_index(at + 1)?,
        state,
        next_ms: time_ms(row.try_get_by_index(at + 3)?),
        due_ms: row.try_get_by_index(at + 4)?,
        queued_ms: time_ms(row.try_get_by_index(at + 5)?),
        last_fire_ms: time_ms(row.try_get_by_index(at + 6)?),
        last_run: read_run(&last_run)?,
        last_error: row.try_get_by_index(at + 8)?,
        fired: row.try_get_by_index(at + 9)?,
        skipped: row.try_get_by_index(at + 10)?,
        missed: row.try_get_by_index(at + 11)?,
        failed: row.try_get_by_index(at + 12)?,
        bytes: row.try_get_by_index(at + 13)?,
        cost: row.try_get_by_index(at + 14)?,
    };
    Ok((row.try_get_by_index(at)?, standing))
}

/// An id as it is stored; empty = none.
pub(super) fn read_run(text: &str) -> Result<Option<Run>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| StoreError::Corrupt(format!("the run {text:?}")))
}

pub(super) fn write_run(run: Option<&Run>) -> Value {
    run.map(ToString::to_string).unwrap_or_default().into()
}

/// The standings of these schedules, locked in the order of their ids until the end of the
/// transaction. Those that are gone are left out.
pub(super) async fn lock(
    store: &Store,
    tx: &DatabaseTransaction,
    ids: &[i64],
) -> Result<BTreeMap<i64, Standing>, StoreError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let mut locked = BTreeMap::new();
    for some in ids.chunks(KEYS_MAX) {
        let columns = COLUMNS.join(", ");
        let mut sql = store.sql(&format!("SELECT {columns} FROM schedule_standings WHERE "));
        sql.is_in("schedule_id", some).push(" ORDER BY schedule_id");
        sql.push(for_update(store.backend()));
        for row in sql.all(tx).await? {
            let (id, standing) = read(&row, 0)?;
            locked.insert(id, standing);
        }
    }
    Ok(locked)
}

/// The same for one.
pub(super) async fn lock_one(
    store: &Store,
    tx: &DatabaseTransaction,
    id: ScheduleId,
) -> Result<Option<Standing>, StoreError> {
    Ok(lock(store, tx, &[id.0]).await?.remove(&id.0))
}

/// Writes standings that are new, or locked.
pub(super) async fn put(
    store: &Store,
    tx: &DatabaseTransaction,
    standings: &[(i64, &Standing)],
) -> Result<(), StoreError> {
    let rows = standings.iter().map(|(id, standing)| -> Vec<Value> {
        vec![
            (*id).into(),
            standing.version.into(),
            standing.state.code().into(),
            standing.next_ms.unwrap_or_default().into(),
            standing.due_ms.into(),
            standing.queued_ms.unwrap_or_default().into(),
            standing.last_fire_ms.unwrap_or_default().into(),
            write_run(standing.last_run.as_ref()),
            standing.last_error.as_str().into(),
            standing.fired.into(),
            standing.skipped.into(),
            standing.missed.into(),
            standing.failed.into(),
            standing.bytes.into(),
            standing.cost.into(),
        ]
    });
    let into = InsertInto {
        table: "schedule_standings",
        columns: &COLUMNS,
        or: &or_replace(store.backend(), "schedule_id", &COLUMNS[1..]),
    };
    insert_rows(store, tx, into, rows).await
}

//! A task's ended attempts.
//!
//! Each has a row of its own in the history, but for the one that completed the task, unless it had
//! an exit code, or said what it used: the task's own row tells that one until the task leaves
//! SUCCEEDED, which writes it. Most tasks succeed at once and so have no other row
//! (`docs/adr/0016-history.md`).

use asyncflow_core::{
    id::{ShardId, TaskId},
    task::{Attempt, AttemptOutcome, Task},
    usage::AttemptUsage,
};
use sea_orm::{DatabaseTransaction, QueryResult, Value};

use super::{GetError, Parts, row::read_failure, write::Row};
use crate::{
    Store,
    backend::or_ignore,
    error::StoreError,
    shard::Place,
    sql::{InsertInto, insert_rows},
};

/// The columns of an ended attempt, the key of its task first.
pub(crate) const COLUMNS: [&str; 14] = [
    "task_key",
    "attempt",
    "run",
    "worker_id",
    "session_id",
    "stage",
    "claim_time_ms",
    "start_time_ms",
    "end_time_ms",
    "outcome",
    "failure_reason",
    "failure_message",
    "exit_code",
    "usage_info",
];

impl Store {
    /// At most `limit` ended attempts in their order, those with a number above `after`.
    ///
    /// # Errors
    /// `NotFound` and `Expired` when the id's shard was never made or is dropped; a task that does
    /// not exist in its shard has no attempts. Those of the database.
    pub async fn list_attempts(
        &self,
        id: &TaskId,
        after: i32,
        limit: u32,
    ) -> Result<Vec<Attempt>, GetError> {
        match self.place(&id.shard).await? {
            Place::Unknown => return Err(GetError::NotFound),
            Place::Gone { archive } => return Err(GetError::Expired { archive }),
            Place::Here => {}
        }
        // The task first: what completes meanwhile is in neither, what is repeated in both.
        let task = self.get_many(std::slice::from_ref(id), Parts::NONE).await?.pop().flatten();
        let table = id.shard.attempt_table();
        let mut sql =
            self.sql(&format!("SELECT {} FROM {table} WHERE task_key = ", COLUMNS.join(", ")));
        sql.bind(id.key).push(" AND attempt > ").bind(after);
        sql.push(" ORDER BY attempt LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        let mut attempts = rows.iter().map(|row| read(row, 1)).collect::<Result<_, _>>()?;
        if let Some(full) = task {
            complete(&mut attempts, &full.task);
        }
        attempts.retain(|one| one.attempt > after);
        attempts.truncate(limit as usize);
        Ok(attempts)
    }
}

/// Adds the attempt that only the task's row tells, if there is one, to those of the history.
pub(crate) fn complete(attempts: &mut Vec<Attempt>, task: &Task) {
    let Some(last) = task.completing_attempt() else { return };
    if attempts.last().is_none_or(|known| known.attempt < last.attempt) {
        attempts.push(last);
    }
}

/// Writes the attempts that ended, but for those that their task's row tells, and those that it has
/// told until now.
pub(super) async fn write_ended(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    rows: &[Row],
) -> Result<(), StoreError> {
    let (mut ended, mut left) = (Vec::new(), Vec::new());
    for row in rows {
        let key = row.after.id.key;
        let told = row.after.completing_attempt();
        ended.extend(row.ended.iter().filter(|one| Some(*one) != told.as_ref()).map(|a| (key, a)));
        let before = row.before.completing_attempt().filter(|_| told.is_none());
        left.extend(before.map(|before| (key, before)));
    }
    let or = or_ignore(store.backend(), "task_key, attempt", "task_key");
    // The primary key is a guard of its own: an attempt ends once.
    insert(store, tx, shard, &ended, if store.is_off("attempts.end_once") { &or } else { "" })
        .await?;
    let left: Vec<_> = left.iter().map(|(key, attempt)| (*key, attempt)).collect();
    insert(store, tx, shard, &left, &or).await
}

/// Inserts ended attempts, each with the key of its task.
pub(crate) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    ended: &[(i64, &Attempt)],
    or: &str,
) -> Result<(), StoreError> {
    let table = shard.attempt_table();
    let rows = ended.iter().map(|(key, ended)| values(*key, ended));
    insert_rows(store, tx, InsertInto { table: &table, columns: &COLUMNS, or }, rows).await
}

fn values(key: i64, ended: &Attempt) -> Vec<Value> {
    vec![
        key.into(),
        ended.attempt.into(),
        ended.run.into(),
        ended.worker_id.as_str().into(),
        ended.session_id.into(),
        ended.stage.as_str().into(),
        ended.claim_time_ms.into(),
        ended.start_time_ms.into(),
        ended.end_time_ms.into(),
        ended.outcome.code().into(),
        ended.failure.as_ref().map(|failure| failure.reason.code()).into(),
        ended.failure.as_ref().map(|failure| failure.message.clone()).into(),
        ended.exit_code.into(),
        ended.usage.as_deref().and_then(encode_usage).into(),
    ]
}

/// Numbers that are none would not be read again; they are refused where they come in.
fn encode_usage(usage: &AttemptUsage) -> Option<String> {
    serde_json::to_string(usage).ok()
}

fn decode_usage(text: Option<String>) -> Result<Option<Box<AttemptUsage>>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// An attempt from [`COLUMNS`]; `at` is where the second of them stands.
pub(crate) fn read(row: &QueryResult, at: usize) -> Result<Attempt, StoreError> {
    let code: i16 = row.try_get_by_index(at + 8)?;
    Ok(Attempt {
        attempt: row.try_get_by_index(at)?,
        run: row.try_get_by_index(at + 1)?,
        worker_id: row.try_get_by_index(at + 2)?,
        session_id: row.try_get_by_index(at + 3)?,
        stage: row.try_get_by_index(at + 4)?,
        claim_time_ms: row.try_get_by_index(at + 5)?,
        start_time_ms: row.try_get_by_index(at + 6)?,
        end_time_ms: row.try_get_by_index(at + 7)?,
        outcome: AttemptOutcome::from_code(code)
            .ok_or_else(|| StoreError::Corrupt(format!("the attempt outcome {code}")))?,
        failure: read_failure(row.try_get_by_index(at + 9)?, row.try_get_by_index(at + 10)?)?,
        exit_code: row.try_get_by_index(at + 11)?,
        usage: decode_usage(row.try_get_by_index(at + 12)?)?,
    })
}

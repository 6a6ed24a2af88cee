//! Reads a task's ended attempts.

use asyncflow_core::{
    id::TaskId,
    task::{Attempt, AttemptOutcome},
};
use sea_orm::QueryResult;

use super::{GetError, row::read_failure};
use crate::{Store, error::StoreError, shard::Place};

/// The columns of an ended attempt, the key of its task first.
pub(crate) const COLUMNS: [&str; 13] = [
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
        let table = id.shard.attempt_table();
        let mut sql =
            self.sql(&format!("SELECT {} FROM {table} WHERE task_key = ", COLUMNS.join(", ")));
        sql.bind(id.key).push(" AND attempt > ").bind(after);
        sql.push(" ORDER BY attempt LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        Ok(rows.iter().map(|row| read(row, 1)).collect::<Result<_, _>>()?)
    }
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
    })
}

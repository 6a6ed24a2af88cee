//! What the governor looks at to find stragglers.

use asyncflow_core::{
    id::{TaskId, TypeName},
    state::TaskState,
    task::{Member, Ties},
};

use crate::{Store, error::StoreError};

/// Shards that are asked for ended tasks, the newest first.
const SHARDS_MAX: usize = 4;

/// A task that a worker has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningTask {
    pub id: TaskId,
    pub run: i32,
    pub attempt: i32,
    pub worker_id: String,
    pub session_id: i64,
    pub start_time_ms: i64,
    pub member: Option<Member>,
    pub ties: Ties,
}

impl Store {
    /// Tasks of a type that run, at most `limit` of each shard: those whose leases run out first,
    /// which are others after each heartbeat. What is only handed out is left out.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn running_tasks(
        &self,
        task_type: &TypeName,
        limit: u32,
    ) -> Result<Vec<RunningTask>, StoreError> {
        let mut tasks = Vec::new();
        for shard in self.active_shards(task_type).await? {
            let (table, running) = (shard.task_table(), TaskState::Running.code());
            let mut sql = self.sql("SELECT id, run, attempt, worker_id, session_id, start_time_ms");
            sql.push(", workflow_key, workflow_place, ties");
            sql.push(&format!(" FROM {table} WHERE state = {running} ORDER BY order_time, id"));
            for row in sql.push(" LIMIT ").bind(i64::from(limit)).all(self.reader()).await? {
                let start_time_ms = row.try_get_by_index::<Option<i64>>(5)?.unwrap_or_default();
                if start_time_ms == 0 {
                    continue;
                }
                tasks.push(RunningTask {
                    id: TaskId { shard: shard.clone(), key: row.try_get_by_index(0)? },
                    run: row.try_get_by_index(1)?,
                    attempt: row.try_get_by_index(2)?,
                    worker_id: row.try_get_by_index(3)?,
                    session_id: row.try_get_by_index(4)?,
                    start_time_ms,
                    member: Member::at(row.try_get_by_index(6)?, row.try_get_by_index(7)?),
                    ties: Ties::from_code(row.try_get_by_index(8)?),
                });
            }
        }
        Ok(tasks)
    }

    /// How long the last successful attempts of a type took, at most `limit`. A task that has had a
    /// twin is left out: its time tells of where it ran, or is not its own.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn took_ms(&self, task_type: &TypeName, limit: u32) -> Result<Vec<i64>, StoreError> {
        let mut took_ms = Vec::new();
        let shards = self.readable_shards(Some(task_type)).await?;
        for shard in shards.iter().rev().take(SHARDS_MAX) {
            let left = i64::from(limit) - took_ms.len() as i64;
            if left <= 0 {
                break;
            }
            let (table, succeeded) = (shard.task_table(), TaskState::Succeeded.code());
            let mut sql = self.sql("SELECT start_time_ms, finish_time_ms, ties FROM ");
            sql.push(&format!("{table} WHERE state = {succeeded}"));
            sql.push(" ORDER BY order_time DESC, id DESC LIMIT ").bind(left);
            for row in sql.all(self.reader()).await? {
                let time = |at: usize| Ok::<_, StoreError>(row.try_get_by_index(at)?);
                let (start_ms, finish_ms): (Option<i64>, Option<i64>) = (time(0)?, time(1)?);
                let ties = Ties::from_code(row.try_get_by_index(2)?);
                took_ms.extend(span_ms(start_ms, finish_ms, ties));
            }
        }
        Ok(took_ms)
    }
}

/// How long a task took that succeeded; `None` where that is not known, or not its own.
pub(crate) fn span_ms(start_ms: Option<i64>, finish_ms: Option<i64>, ties: Ties) -> Option<i64> {
    let (start_ms, finish_ms) = (start_ms.filter(|ms| *ms != 0)?, finish_ms?);
    (!ties.twinned).then_some(finish_ms.saturating_sub(start_ms).max(0))
}

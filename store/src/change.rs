//! The change log: one row per transaction, read in the order of its `seq`.
//!
//! `seq` is given out before COMMIT, so a reader may see 7 before 6. [`ChangeTail`] waits a while
//! at such a hole: either the row turns up, or its transaction was rolled back and never will.

use std::collections::VecDeque;

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    state::TaskState,
    task::Task,
    workflow::progress::WorkflowState,
};
use sea_orm::QueryResult;
use serde::{Deserialize, Serialize};

use crate::{Store, error::StoreError, leader::LeaderFence};

/// How old the row behind a hole has to be, by the database's clock, before the hole is passed.
const HOLE_GRACE_MS: i64 = 2_000;
/// Rows per look.
const ROWS_MAX: u32 = 256;

/// A task that was created, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub task_id: TaskId,
    pub user: String,
    /// `None`: it was created.
    pub from: Option<TaskState>,
    /// `None`: it was deleted. Equal to `from`: something else than the state changed.
    pub to: Option<TaskState>,
    pub attempt: i32,
    pub revision: i64,
}

/// A workflow that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkflowChange {
    pub id: WorkflowId,
    /// Its state since then.
    pub state: WorkflowState,
}

/// What one transaction changed, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    /// Grows with every transaction; the resume token of a watch.
    pub seq: i64,
    pub time_ms: i64,
    pub changes: Vec<Change>,
    /// Each once.
    pub workflows: Vec<WorkflowChange>,
}

/// How a change is stored: id, user, from (0 = none), to (0 = none), attempt, revision.
type Stored = (String, String, i16, i16, i32, i64);

impl Change {
    pub(crate) fn new(task: &Task, from: Option<TaskState>, to: Option<TaskState>) -> Self {
        Self {
            task_id: task.id.clone(),
            user: task.user.clone(),
            from,
            to,
            attempt: task.attempt,
            revision: task.revision,
        }
    }

    fn encode(&self) -> Stored {
        let code = |state: Option<TaskState>| state.map_or(0, TaskState::code);
        let id = self.task_id.to_string();
        let (from, to) = (code(self.from), code(self.to));
        (id, self.user.clone(), from, to, self.attempt, self.revision)
    }

    fn decode((id, user, from, to, attempt, revision): Stored) -> Result<Self, StoreError> {
        let task_id = id.parse().map_err(|_| StoreError::Corrupt(format!("the id {id:?}")))?;
        let (from, to) = (TaskState::from_code(from), TaskState::from_code(to));
        Ok(Self { task_id, user, from, to, attempt, revision })
    }
}

/// How a workflow is stored: id, state.
type StoredWorkflow = (i64, i16);

/// How a row is stored that tells of workflows. One that does not is the list of its tasks alone.
#[derive(Deserialize, Serialize)]
struct StoredRow {
    tasks: Vec<Stored>,
    workflows: Vec<StoredWorkflow>,
}

/// What a row holds.
pub(crate) fn encode(
    changes: &[Change],
    workflows: impl ExactSizeIterator<Item = WorkflowChange>,
) -> Result<Vec<u8>, StoreError> {
    let tasks: Vec<Stored> = changes.iter().map(Change::encode).collect();
    let encoded = if workflows.len() == 0 {
        serde_json::to_vec(&tasks)
    } else {
        let workflows = workflows.map(|change| (change.id.0, change.state.code())).collect();
        serde_json::to_vec(&StoredRow { tasks, workflows })
    };
    encoded.map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<(Vec<Change>, Vec<WorkflowChange>), StoreError> {
    let stored = if bytes.starts_with(b"{") {
        serde_json::from_slice(bytes)
    } else {
        serde_json::from_slice(bytes).map(|tasks| StoredRow { tasks, workflows: Vec::new() })
    };
    let stored: StoredRow = stored.map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let workflow = |(id, state): StoredWorkflow| {
        let known = WorkflowState::from_code(state);
        let state = known.ok_or_else(|| StoreError::Corrupt(format!("the state {state}")))?;
        Ok(WorkflowChange { id: WorkflowId(id), state })
    };
    let changes =
        stored.tasks.into_iter().map(Change::decode).collect::<Result<_, StoreError>>()?;
    Ok((changes, stored.workflows.into_iter().map(workflow).collect::<Result<_, StoreError>>()?))
}

fn read(row: &QueryResult) -> Result<ChangeRow, StoreError> {
    let stored: Vec<u8> = row.try_get_by_index(2)?;
    let (changes, workflows) = decode(&stored)?;
    let (seq, time_ms) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(ChangeRow { seq, time_ms, changes, workflows })
}

impl Store {
    /// At most `limit` rows behind `seq`, as they are now: rows of transactions that commit late
    /// can turn up in between later, see [`ChangeTail`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn changes_after(&self, seq: i64, limit: u32) -> Result<Vec<ChangeRow>, StoreError> {
        let mut sql = self.sql("SELECT seq, time_ms, changes FROM change_log WHERE seq > ");
        sql.bind(seq).push(" ORDER BY seq LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }

    /// The newest row's `seq`; 0 when there is none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn last_change_seq(&self) -> Result<i64, StoreError> {
        let mut sql = self.sql("SELECT seq FROM change_log ORDER BY seq DESC LIMIT 1");
        let row = sql.one(self.reader()).await?;
        row.map_or(Ok(0), |row| Ok(row.try_get_by_index(0)?))
    }

    /// The oldest row's `seq`: a token below it minus one has missed something. `None` = empty log.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn first_change_seq(&self) -> Result<Option<i64>, StoreError> {
        let mut sql = self.sql("SELECT seq FROM change_log ORDER BY seq LIMIT 1");
        let row = sql.one(self.reader()).await?;
        row.map(|row| Ok(row.try_get_by_index(0)?)).transpose()
    }

    /// Deletes about `limit` rows of transactions before `before_ms`; returns how many. With a
    /// fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_changes(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.purge_by_time("change_log", "time_ms", before_ms, limit, fence).await
    }
}

/// Reads the change log from a place on, without losing the rows of late commits.
pub struct ChangeTail {
    store: Store,
    seq: i64,
    waiting: bool,
    ready: VecDeque<ChangeRow>,
}

impl ChangeTail {
    /// Starts behind `seq`, e.g. [`Store::last_change_seq`] or the token of a client.
    pub fn new(store: &Store, seq: i64) -> Self {
        Self { store: store.clone(), seq, waiting: false, ready: VecDeque::new() }
    }

    /// The last row that was given out, or where it started.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Whether it stands before a hole whose row may still turn up: look again within a second.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The next row, or `None` when there is none yet; call it again after a wake-up of
    /// [`crate::wake::CHANGES`]. Cancel safe.
    ///
    /// # Errors
    /// Those of the database; the tail stays where it is.
    pub async fn next(&mut self) -> Result<Option<ChangeRow>, StoreError> {
        if self.ready.is_empty() {
            let now_ms = self.store.now_ms().await?;
            let rows = self.store.changes_after(self.seq, ROWS_MAX).await?;
            self.take(rows, now_ms);
        }
        let row = self.ready.pop_front();
        if let Some(row) = &row {
            self.seq = row.seq;
        }
        Ok(row)
    }

    /// Keeps the rows up to the first young hole. The first row of all has no row before it.
    fn take(&mut self, rows: Vec<ChangeRow>, now_ms: i64) {
        let mut expected = self.seq + 1;
        self.waiting = false;
        for row in rows {
            let hole = row.seq > expected && expected > 1;
            if hole && now_ms - row.time_ms < HOLE_GRACE_MS {
                self.waiting = true;
                return;
            }
            expected = row.seq + 1;
            self.ready.push_back(row);
        }
    }
}

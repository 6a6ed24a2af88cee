//! What was waited for has come: those who wait for nothing more go into the queue.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, WorkflowId},
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::rows::{CHILDREN, forget};
use crate::{
    Store,
    error::StoreError,
    ledger::Ledger,
    shard::is_there,
    sql::Sql,
    task::Batch,
    workflow::{self, Happened, Left},
};

/// Rows that are taken up in one transaction; the rest is left.
const ROWS_MAX: usize = 500;

/// What has come.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    /// The end of a task.
    Ended(TaskId, TaskState),
    /// A signal for a task.
    Signal { waiter: TaskId, name: String },
    /// A signal for all tasks of a workflow.
    WorkflowSignal { root: WorkflowId, name: String },
    /// The end of all that a task has made. Its row is locked.
    Children(TaskId),
    /// Whatever was left by others.
    Left,
}

/// What followed.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// Tasks that have changed, as they are now.
    pub changed: Vec<Task>,
    /// What that means for workflows.
    pub ended: Vec<(WorkflowId, Happened)>,
    pub left: Vec<Left>,
}

/// A row that is marked.
struct Marked {
    awaited: String,
    name: String,
    waiter: TaskId,
    any_end: bool,
    outcome: TaskState,
}

/// Does what follows, in the transaction in which it came.
pub(crate) async fn release(
    store: &Store,
    tx: &DatabaseTransaction,
    due: Vec<Due>,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Released, StoreError> {
    let mut released = Released::default();
    let (mut due, mut room) = (due, ROWS_MAX);
    while let Some(next) = due.pop() {
        mark(store, tx, &next).await?;
        if store.is_off("condition.releases") {
            continue;
        }
        let marked = marked(store, tx, &next, room + 1).await?;
        if marked.len() > room {
            released.left.push(Left::Release);
        }
        let taken: Vec<Marked> = marked.into_iter().take(room).collect();
        room -= taken.len();
        let ends = take_up(store, tx, taken, now_ms, ledger, &mut released).await?;
        due.extend(ends.into_iter().map(|(id, state)| Due::Ended(id, state)));
    }
    Ok(released)
}

/// Where the rows are that something makes due.
fn push_rows(sql: &mut Sql, due: &Due) {
    match due {
        Due::Ended(id, _) => sql.push("awaited = ").bind(id.to_string()).push(" AND name = ''"),
        Due::Signal { waiter, name } => {
            sql.push("waiter = ").bind(waiter.to_string()).push(" AND name = ").bind(name.as_str())
        }
        Due::WorkflowSignal { root, name } => {
            sql.push("awaited = ").bind(root.to_string()).push(" AND name = ").bind(name.as_str())
        }
        Due::Children(id) => {
            sql.push("awaited = ").bind(id.to_string()).push(" AND name = ").bind(CHILDREN)
        }
        Due::Left => sql.push("outcome > 0"),
    };
}

async fn mark(store: &Store, tx: &DatabaseTransaction, due: &Due) -> Result<(), StoreError> {
    let outcome = match due {
        Due::Ended(_, state) => *state,
        Due::Signal { .. } | Due::WorkflowSignal { .. } | Due::Children(_) => TaskState::Succeeded,
        Due::Left => return Ok(()),
    };
    let mut sql = store.sql("UPDATE task_waits SET outcome = ");
    push_rows(sql.bind(outcome.code()).push(" WHERE "), due);
    sql.run(tx).await?;
    Ok(())
}

async fn marked(
    store: &Store,
    tx: &DatabaseTransaction,
    due: &Due,
    limit: usize,
) -> Result<Vec<Marked>, StoreError> {
    let mut sql =
        store.sql("SELECT awaited, name, waiter, any_end, outcome FROM task_waits WHERE ");
    push_rows(&mut sql, due);
    sql.push(" ORDER BY awaited, name, waiter LIMIT ");
    let rows = sql.bind(i64::try_from(limit).unwrap_or(i64::MAX)).all(tx).await?;
    let read = |row: &sea_orm::QueryResult| {
        let (waiter, outcome): (String, i16) = (row.try_get_by_index(2)?, row.try_get_by_index(4)?);
        let corrupt = || StoreError::Corrupt(format!("the wait of {waiter:?}"));
        Ok(Marked {
            awaited: row.try_get_by_index(0)?,
            name: row.try_get_by_index(1)?,
            any_end: row.try_get_by_index::<i16>(3)? != 0,
            outcome: TaskState::from_code(outcome).ok_or_else(corrupt)?,
            waiter: waiter.parse().map_err(|_| corrupt())?,
        })
    };
    rows.iter().map(read).collect()
}

/// Unblocks those who wait for nothing more, and fails those who wait in vain; answers what has
/// ended by that and is waited for itself.
async fn take_up(
    store: &Store,
    tx: &DatabaseTransaction,
    marked: Vec<Marked>,
    now_ms: i64,
    ledger: &mut Ledger,
    released: &mut Released,
) -> Result<Vec<(TaskId, TaskState)>, StoreError> {
    let mut by_shard: BTreeMap<ShardId, Vec<Marked>> = BTreeMap::new();
    for row in marked {
        by_shard.entry(row.waiter.shard.clone()).or_default().push(row);
    }
    let mut ends = Vec::new();
    for (shard, rows) in by_shard {
        let waiters: BTreeSet<&TaskId> = rows.iter().map(|row| &row.waiter).collect();
        let waiters: Vec<&TaskId> = waiters.into_iter().collect();
        if !is_there(store, tx, &shard).await? {
            forget(store, tx, &waiters).await?;
            continue;
        }
        let keys = waiters.iter().map(|waiter| waiter.key).collect();
        let (mut batch, _) = Batch::read(store, tx, &shard, keys, true).await?;
        let in_vain: BTreeMap<&TaskId, String> = (rows.iter())
            .filter(|row| row.outcome != TaskState::Succeeded && !row.any_end)
            .map(|row| {
                (&row.waiter, format!("it waits for {}, which is {}", row.awaited, row.outcome))
            })
            .collect();
        for row in &rows {
            let mut sql = store.sql("DELETE FROM task_waits WHERE awaited = ");
            sql.bind(row.awaited.as_str()).push(" AND name = ").bind(row.name.as_str());
            sql.push(" AND waiter = ").bind(row.waiter.to_string()).run(tx).await?;
        }
        let wait_on = still_waiting(store, tx, &waiters).await?;
        for waiter in &waiters {
            let event = match in_vain.get(waiter) {
                Some(message) => Event::DependencyFail { message: message.clone() },
                None if wait_on.contains(&waiter.to_string()) => continue,
                None => Event::Unblock,
            };
            // One that does not wait any more refuses, and so much the better.
            if let Ok(Some(task)) = batch.apply(waiter.key, &event, now_ms, ledger) {
                released.changed.push(task.clone());
                if task.state.is_terminal() && task.ties.awaited {
                    ends.push((task.id.clone(), task.state));
                }
            }
        }
        forget(store, tx, &in_vain.keys().copied().collect::<Vec<_>>()).await?;
        released.ended.extend(workflow::ended(batch.changes()));
        batch.write(store, tx).await?;
    }
    Ok(ends)
}

async fn still_waiting(
    store: &Store,
    tx: &DatabaseTransaction,
    waiters: &[&TaskId],
) -> Result<BTreeSet<String>, StoreError> {
    let ids: Vec<String> = waiters.iter().map(ToString::to_string).collect();
    let mut found = BTreeSet::new();
    for chunk in ids.chunks(256) {
        let mut sql = store.sql("SELECT DISTINCT waiter FROM task_waits WHERE ");
        for row in sql.is_in("waiter", chunk).all(tx).await? {
            found.insert(row.try_get_by_index(0)?);
        }
    }
    Ok(found)
}

impl Store {
    /// Takes up what is marked and was left, one portion of it.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn release_left(&self) -> Result<workflow::Followed, StoreError> {
        let now_ms = self.now_ms().await?;
        let followed = self
            .transact(&now_ms, |store, tx, now_ms| {
                Box::pin(async move {
                    let mut ledger = Ledger::default();
                    let due = vec![Due::Left];
                    let released = release(store, tx, due, *now_ms, &mut ledger).await?;
                    let followed = released.follow(store, tx, *now_ms, &mut ledger).await?;
                    ledger.write(store, tx, *now_ms).await?;
                    Ok(followed)
                })
            })
            .await
            .map_err(StoreError::exhausted)?;
        self.announce(&followed.made);
        Ok(followed)
    }
}

impl Released {
    /// Goes on with the workflows that are concerned; answers everything that was made or changed.
    pub async fn follow(
        self,
        store: &Store,
        tx: &DatabaseTransaction,
        now_ms: i64,
        ledger: &mut Ledger,
    ) -> Result<workflow::Followed, StoreError> {
        let mut followed = workflow::follow(store, tx, self.ended, now_ms, ledger).await?;
        followed.made.extend(self.changed);
        followed.left.extend(self.left);
        Ok(followed)
    }
}

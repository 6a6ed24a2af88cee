//! What was waited for has come: those who wait for nothing more go into the queue.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, WorkflowId},
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::rows::{CHILDREN, forget, still_waiting};
use crate::{
    Parts, Store,
    backend::{Backend, for_update},
    error::StoreError,
    ledger::Ledger,
    shard::{is_gone, is_there},
    sql::Sql,
    task::Batch,
    workflow::{self, Happened, Left},
};

/// Rows that are taken up in one transaction; the rest is left.
const ROWS_MAX: usize = 500;
/// Keys per statement.
const KEYS_MAX: usize = 256;

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
    while !due.is_empty() {
        if store.is_off("condition.marks") {
            break;
        }
        let wheres = Where::of(due);
        for of in &wheres {
            of.mark(store, tx).await?;
        }
        let (mut taken, mut is_more) = (Vec::new(), false);
        for of in &wheres {
            let marked = of.marked(store, tx, room + 1).await?;
            is_more |= marked.len() > room;
            taken.extend(marked.into_iter().take(room));
            room = ROWS_MAX.saturating_sub(taken.len()).min(room);
        }
        let was_taken = taken.len();
        let taken_up = take_up(store, tx, taken, now_ms, ledger, &mut released).await?;
        // Where nothing can be taken up now, trying again at once would bring nothing.
        if is_more && taken_up.set_aside < was_taken {
            released.left.push(Left::Release);
        }
        due = taken_up.ends.into_iter().map(|(id, state)| Due::Ended(id, state)).collect();
    }
    Ok(released)
}

/// Where the rows are that something makes due, and what it makes of them.
enum Where {
    /// The ends of tasks that ended alike.
    Ended(TaskState, Vec<String>),
    Other(Due),
}

impl Where {
    fn of(due: Vec<Due>) -> Vec<Self> {
        let mut ended: BTreeMap<TaskState, BTreeSet<String>> = BTreeMap::new();
        let mut wheres = Vec::new();
        for due in due {
            match due {
                Due::Ended(id, state) => {
                    ended.entry(state).or_default().insert(id.to_string());
                }
                due => wheres.push(Self::Other(due)),
            }
        }
        for (state, ids) in ended {
            let ids: Vec<String> = ids.into_iter().collect();
            wheres.extend(ids.chunks(KEYS_MAX).map(|ids| Self::Ended(state, ids.to_vec())));
        }
        wheres
    }

    fn push(&self, sql: &mut Sql) {
        match self {
            Self::Ended(_, ids) => sql.push("name = '' AND ").is_in("awaited", ids),
            Self::Other(Due::Ended(id, _)) => {
                sql.push("name = '' AND awaited = ").bind(id.to_string())
            }
            Self::Other(Due::Signal { waiter, name }) => sql
                .push("waiter = ")
                .bind(waiter.to_string())
                .push(" AND name = ")
                .bind(name.as_str()),
            Self::Other(Due::WorkflowSignal { root, name }) => sql
                .push("awaited = ")
                .bind(root.to_string())
                .push(" AND name = ")
                .bind(name.as_str()),
            Self::Other(Due::Children(id)) => {
                sql.push("awaited = ").bind(id.to_string()).push(" AND name = ").bind(CHILDREN)
            }
            Self::Other(Due::Left) => sql.push("outcome > 0"),
        };
    }

    async fn mark(&self, store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let outcome = match self {
            Self::Other(Due::Left) => return Ok(()),
            Self::Ended(state, _) | Self::Other(Due::Ended(_, state)) => *state,
            Self::Other(_) => TaskState::Succeeded,
        };
        let mut sql = store.sql("UPDATE task_waits SET outcome = ");
        self.push(sql.bind(outcome.code()).push(" WHERE "));
        sql.run(tx).await?;
        Ok(())
    }

    /// Rows that are marked, locked: two that take up what is left do not take up the same.
    async fn marked(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        limit: usize,
    ) -> Result<Vec<Marked>, StoreError> {
        let columns = "awaited, name, waiter, any_end, outcome";
        let mut sql = store.sql(&format!("SELECT {columns} FROM task_waits WHERE "));
        self.push(&mut sql);
        sql.push(" ORDER BY awaited, name, waiter LIMIT ");
        sql.bind(i64::try_from(limit).unwrap_or(i64::MAX)).push(for_update(store.backend()));
        sql.all(tx).await?.iter().map(read).collect()
    }
}

fn read(row: &sea_orm::QueryResult) -> Result<Marked, StoreError> {
    let (waiter, outcome): (String, i16) = (row.try_get_by_index(2)?, row.try_get_by_index(4)?);
    let corrupt = || StoreError::Corrupt(format!("the wait of {waiter:?}"));
    Ok(Marked {
        awaited: row.try_get_by_index(0)?,
        name: row.try_get_by_index(1)?,
        any_end: row.try_get_by_index::<i16>(3)? != 0,
        outcome: TaskState::from_code(outcome).ok_or_else(corrupt)?,
        waiter: waiter.parse().map_err(|_| corrupt())?,
    })
}

/// Forgets these rows and no others: one that is marked meanwhile is somebody else's.
async fn delete(
    store: &Store,
    tx: &DatabaseTransaction,
    rows: &[Marked],
) -> Result<(), StoreError> {
    for chunk in rows.chunks(KEYS_MAX) {
        let mut sql = store.sql("DELETE FROM task_waits WHERE (awaited, name, waiter) IN (");
        // A list of rows is a table of values to SQLite.
        sql.push(if store.backend() == Backend::Sqlite { "VALUES " } else { "" });
        for (at, row) in chunk.iter().enumerate() {
            sql.push(if at > 0 { ", " } else { "" });
            let (awaited, name) = (row.awaited.as_str().into(), row.name.as_str().into());
            sql.tuple([awaited, name, row.waiter.to_string().into()]);
        }
        sql.push(")").run(tx).await?;
    }
    Ok(())
}

/// What became of rows that were marked.
#[derive(Default)]
struct TakenUp {
    /// What has ended by that and is waited for itself.
    ends: Vec<(TaskId, TaskState)>,
    /// Rows that stay marked.
    set_aside: usize,
}

/// Unblocks those who wait for nothing more, and fails those who wait in vain.
async fn take_up(
    store: &Store,
    tx: &DatabaseTransaction,
    marked: Vec<Marked>,
    now_ms: i64,
    ledger: &mut Ledger,
    released: &mut Released,
) -> Result<TakenUp, StoreError> {
    let mut by_shard: BTreeMap<ShardId, Vec<Marked>> = BTreeMap::new();
    for row in marked {
        by_shard.entry(row.waiter.shard.clone()).or_default().push(row);
    }
    let mut taken_up = TakenUp::default();
    for (shard, rows) in by_shard {
        let waiters: BTreeSet<&TaskId> = rows.iter().map(|row| &row.waiter).collect();
        let waiters: Vec<&TaskId> = waiters.into_iter().collect();
        if !is_there(store, tx, &shard).await? {
            if is_gone(store, tx, &shard).await? {
                forget(store, tx, &waiters).await?;
            } else {
                taken_up.set_aside += rows.len();
            }
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
        delete(store, tx, &rows).await?;
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
                    taken_up.ends.push((task.id.clone(), task.state));
                }
            }
        }
        forget(store, tx, &in_vain.keys().copied().collect::<Vec<_>>()).await?;
        released.ended.extend(workflow::ended(batch.changes()));
        batch.write(store, tx).await?;
    }
    Ok(taken_up)
}

impl Store {
    /// Takes up what is marked and was left, one portion of it.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn release_left(&self) -> Result<workflow::Followed, StoreError> {
        self.release_due(vec![Due::Left]).await
    }

    /// Looks whether tasks that others wait for have ended without anybody saying so, which an
    /// older broker does: at most `limit` of them, behind `after`. Answers how many tasks that
    /// changed, and where to go on, if there may be more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tend_lost_waits(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<(u64, Option<String>), StoreError> {
        let mut sql = self.sql("SELECT DISTINCT awaited FROM task_waits WHERE name = ''");
        sql.push(" AND outcome = 0 AND awaited > ").bind(after);
        let rows = sql.push(" ORDER BY awaited LIMIT ").bind(i64::from(limit)).all(self.reader());
        let mut ids = Vec::new();
        let mut last = None;
        for row in rows.await? {
            let awaited: String = row.try_get_by_index(0)?;
            ids.extend(awaited.parse::<TaskId>());
            last = Some(awaited);
        }
        let is_last = ids.len() < limit as usize;
        let found = self.get_many(&ids, Parts::NONE).await?;
        let state = |found: Option<asyncflow_core::task::FullTask>| {
            found.map_or(TaskState::Cancelled, |full| full.task.state)
        };
        let states = ids.into_iter().zip(found.into_iter().map(state));
        let ended = states.filter(|(_, state)| state.is_terminal());
        let due: Vec<Due> = ended.map(|(id, state)| Due::Ended(id, state)).collect();
        let mut changed = 0;
        if !due.is_empty() {
            let followed = self.release_due(due).await?;
            changed = (followed.made.len() + self.carry_out(followed.left).await.len()) as u64;
        }
        Ok((changed, last.filter(|_| !is_last)))
    }

    async fn release_due(&self, due: Vec<Due>) -> Result<workflow::Followed, StoreError> {
        let now_ms = self.now_ms().await?;
        let followed = self
            .transact(&(due, now_ms), |store, tx, (due, now_ms)| {
                Box::pin(async move {
                    let mut ledger = Ledger::default();
                    let released = release(store, tx, due.clone(), *now_ms, &mut ledger).await?;
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

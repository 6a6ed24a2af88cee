//! A new task that is not to run before its conditions hold.

use std::collections::BTreeMap;

use asyncflow_core::{
    create::{NewTask, Predecessor},
    event::{Event, Tie},
    id::{ShardId, TaskId, WorkflowId},
    limits::WAITERS_MAX,
    state::TaskState,
    task::FullTask,
};
use sea_orm::DatabaseTransaction;

use super::rows::WaitRow;
use crate::{Store, error::StoreError, ledger::Ledger, shard::is_there, task::Batch};

/// What a new task waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    after: Vec<Predecessor>,
    signals: Vec<String>,
}

impl Conditions {
    /// Those of a request.
    pub fn of(new: &NewTask) -> Self {
        Self { after: new.after.clone(), signals: new.signals.clone() }
    }
}

/// Blocks a new task, which is not stored yet, as far as its conditions do not hold; answers what
/// it waits for then, or why it can never run. `root` is the workflow whose signals it waits for,
/// locked.
pub(crate) async fn hold(
    store: &Store,
    tx: &DatabaseTransaction,
    full: &mut FullTask,
    conditions: &Conditions,
    root: Option<WorkflowId>,
    (now_ms, ledger): (i64, &mut Ledger),
) -> Result<Result<Vec<WaitRow>, String>, StoreError> {
    let (waiter, mut rows) = (full.task.id.clone(), Vec::new());
    let mut by_shard: BTreeMap<&ShardId, Vec<&Predecessor>> = BTreeMap::new();
    for predecessor in &conditions.after {
        by_shard.entry(&predecessor.id.shard).or_default().push(predecessor);
    }
    for (shard, predecessors) in by_shard {
        let unknown = |id| Ok(Err(format!("there is no task {id} to wait for")));
        if !is_there(store, tx, shard).await? {
            return unknown(&predecessors[0].id);
        }
        let keys = predecessors.iter().map(|predecessor| predecessor.id.key).collect();
        let (mut batch, _) = Batch::read(store, tx, shard, keys, true).await?;
        let mut live = Vec::new();
        for Predecessor { id, any_end } in predecessors {
            let Some(task) = batch.task(id.key) else { return unknown(id) };
            match task.state {
                TaskState::Succeeded => continue,
                TaskState::Failed | TaskState::Cancelled if *any_end => continue,
                state if state.is_terminal() => {
                    return Ok(Err(format!("task {id}, which it waits for, is {state}")));
                }
                _ => {}
            }
            if task.ties.awaited && waiters(store, tx, id).await? >= WAITERS_MAX {
                return Ok(Err(format!("{WAITERS_MAX} tasks wait for {id} already")));
            }
            live.push((id, *any_end, task.ties.awaited));
        }
        for (id, any_end, is_awaited) in live {
            if !is_awaited {
                let bound = batch.apply(id.key, &Event::Bind(Tie::Awaited), now_ms, ledger);
                bound.map_err(|refusal| StoreError::Corrupt(format!("{id}: {refusal}")))?;
            }
            rows.push(WaitRow {
                awaited: id.to_string(),
                name: String::new(),
                waiter: waiter.clone(),
                any_end,
            });
        }
        batch.write(store, tx).await?;
    }
    let target = root.map_or_else(|| waiter.to_string(), |root| root.to_string());
    let come = match root {
        Some(_) => super::signal::names(store, tx, &[&target]).await?,
        None => Vec::new(),
    };
    rows.extend(conditions.signals.iter().filter(|name| !come.contains(name)).map(|name| {
        WaitRow {
            awaited: target.clone(),
            name: name.clone(),
            waiter: waiter.clone(),
            any_end: true,
        }
    }));
    full.task.ties.signalled |= !conditions.signals.is_empty();
    if !rows.is_empty() {
        full.task.state = TaskState::Blocked;
        full.task.order_time_ms = now_ms;
    }
    Ok(Ok(rows))
}

/// How many tasks wait for the end of one, as far as that is too many.
async fn waiters(
    store: &Store,
    tx: &DatabaseTransaction,
    id: &TaskId,
) -> Result<usize, StoreError> {
    let mut sql =
        store.sql("SELECT COUNT(*) FROM (SELECT 1 AS one FROM task_waits WHERE awaited = ");
    sql.bind(id.to_string()).push(" AND name = '' LIMIT ");
    let row = sql.bind(WAITERS_MAX as i64).push(") AS few").one(tx).await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

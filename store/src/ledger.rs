//! What a transaction did: counts that are kept up incrementally, what users have used, and one row
//! of the change log. Written last, in the order of their keys, so that hot rows are locked briefly
//! and in the same order by everybody. The change log comes after the counts, which may wait for
//! others or lose a deadlock: its number is given out at once, and whoever reads the log waits at
//! the hole that a number without a COMMIT leaves.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::Event,
    id::{ShardId, WorkflowId},
    state::TaskState,
    task::Task,
    usage::{AttemptUsage, UserUsage},
    workflow::progress::WorkflowState,
};
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::or_add,
    change::{self, Change, WorkflowChange},
    error::StoreError,
    sql::{InsertInto, insert_rows},
    usage::{self, UsageByUser},
};

/// Counts are spread over so many rows, so that two transactions seldom want the same one.
const SLOTS: i16 = 16;
const COUNT_KEY: &str = "task_type, shard, user_name, state, slot";

/// Shard, user, and the code of a state.
pub(crate) type CountKey = (ShardId, String, i16);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    counts: BTreeMap<CountKey, i64>,
    changes: Vec<Change>,
    workflows: BTreeMap<WorkflowId, WorkflowState>,
    used: UsageByUser,
}

impl Ledger {
    pub fn created(&mut self, task: &Task) {
        self.count(task, task.state, 1);
        self.changes.push(Change::new(task, None, Some(task.state)));
    }

    /// An edge, or a change within a state that somebody who watches wants to see. That a lease was
    /// renewed is no news; what else an event may change is not all in the row, so the event says
    /// it: new labels are news, and so is a result that went.
    pub fn changed(&mut self, before: &Task, event: &Event, after: &Task) {
        if before.state != after.state {
            self.count(before, before.state, -1);
            self.count(after, after.state, 1);
        }
        if !matches!(event, Event::Heartbeat { .. }) {
            self.changes.push(Change::new(after, Some(before.state), Some(after.state)));
        }
    }

    pub fn deleted(&mut self, task: &Task) {
        self.count(task, task.state, -1);
        self.changes.push(Change::new(task, Some(task.state), None));
    }

    /// A workflow was written; its state is this one now.
    pub fn workflow_changed(&mut self, id: WorkflowId, state: WorkflowState) {
        self.workflows.insert(id, state);
    }

    /// An attempt of this task ended, and its worker said what it used.
    pub fn used(&mut self, task: &Task, used: &AttemptUsage) {
        self.used.entry(task.user.clone()).or_default().add(UserUsage::of(used));
    }

    /// Adds what another part of the transaction did.
    pub fn absorb(&mut self, other: Self) {
        for (key, by) in other.counts {
            *self.counts.entry(key).or_default() += by;
        }
        self.changes.extend(other.changes);
        self.workflows.extend(other.workflows);
        for (user, used) in other.used {
            self.used.entry(user).or_default().add(used);
        }
    }

    /// Counts `by` more tasks like this one in a state, without a word in the change log.
    pub fn count(&mut self, task: &Task, state: TaskState, by: i64) {
        let key = (task.id.shard.clone(), task.user.clone(), state.code());
        *self.counts.entry(key).or_default() += by;
    }

    /// Writes all of it; the last statements of the transaction.
    pub async fn write(
        self,
        store: &Store,
        tx: &DatabaseTransaction,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        add_counts(store, tx, self.counts).await?;
        usage::add(store, tx, self.used, now_ms).await?;
        if !self.changes.is_empty() || !self.workflows.is_empty() {
            let workflows = self.workflows.into_iter();
            let workflows = workflows.map(|(id, state)| WorkflowChange { id, state });
            let mut sql = store.sql("INSERT INTO change_log (time_ms, changes) VALUES ");
            sql.tuple([now_ms.into(), change::encode(&self.changes, workflows)?.into()]);
            sql.run(tx).await?;
        }
        Ok(())
    }
}

/// Adds to counts, in the order in which they are given, which should be that of their keys.
pub(crate) async fn add_counts(
    store: &Store,
    tx: &DatabaseTransaction,
    counts: impl IntoIterator<Item = (CountKey, i64)>,
) -> Result<(), StoreError> {
    let slot: i16 = rand::random_range(0..SLOTS);
    let rows: Vec<_> = (counts.into_iter().filter(|(_, by)| *by != 0))
        .map(|((shard, user, state), by)| {
            vec![
                shard.task_type.as_str().into(),
                shard.number.into(),
                user.into(),
                state.into(),
                slot.into(),
                by.into(),
            ]
        })
        .collect();
    let into = InsertInto {
        table: "task_counts",
        columns: &["task_type", "shard", "user_name", "state", "slot", "n"],
        or: &or_add(store.backend(), "task_counts", COUNT_KEY, "n"),
    };
    insert_rows(store, tx, into, rows).await
}

//! Finds shards in which nothing is left to do, and those in which there is something again.

use std::collections::HashSet;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
    state::TaskState,
};

use sea_orm::DatabaseTransaction;

use super::Step;
use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

/// Shards whose state a look has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Were CLOSED; all their tasks are terminal.
    pub drained: Vec<ShardId>,
    /// Were DRAINED; a task was retried, or written by a broker that knew the shard as open.
    pub reopened: Vec<ShardId>,
}

impl Store {
    /// Looks at the counts of a type's closed shards, or of all types': CLOSED without a live task
    /// becomes DRAINED, and DRAINED with one becomes CLOSED. Only while that leader leads.
    ///
    /// A task may become live between the look and the change; the next look then sees it, so this
    /// has to be repeated for as long as there are DRAINED shards.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn drain_shards(
        &self,
        task_type: Option<&TypeName>,
        fence: &LeaderFence,
    ) -> Result<Drained, StoreError> {
        let counts = self.shard_counts(task_type).await?;
        let live: HashSet<_> =
            counts.iter().filter(|c| !c.state.is_terminal()).map(|count| &count.shard).collect();
        let mut changed = Drained::default();
        for shard in self.list_shards(task_type).await? {
            let is_live = live.contains(&shard.id);
            match shard.state {
                ShardState::Closed
                    if !is_live
                        && !self.has_live(&shard.id).await?
                        && self.drain_step(&shard, fence).await? =>
                {
                    changed.drained.push(shard.id);
                }
                ShardState::Drained
                    if is_live
                        && !self.is_off("drain.looks_again")
                        && self.step_led(&shard, ShardState::Closed, fence).await? =>
                {
                    changed.reopened.push(shard.id);
                }
                _ => {}
            }
        }
        Ok(changed)
    }

    /// A shard in which a task becomes live in this transaction is not DRAINED.
    pub(crate) async fn reopen(
        &self,
        tx: &DatabaseTransaction,
        shard: &ShardId,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (from, to) = (ShardState::Drained, ShardState::Closed);
        Step { shard, from, to, version: None, now_ms }.write(self, tx).await?;
        Ok(())
    }

    async fn drain_step(&self, seen: &Shard, fence: &LeaderFence) -> Result<bool, StoreError> {
        self.fault_point("drain.seen").await;
        self.step_led(seen, ShardState::Drained, fence).await
    }

    /// Whether the rows themselves hold a live task, whatever the counts say.
    async fn has_live(&self, shard: &ShardId) -> Result<bool, StoreError> {
        self.holds(&shard.task_table(), &live_states()).await
    }

    /// Whether a table has a row in one of these states; a look into the state index each.
    pub(super) async fn holds(
        &self,
        table: &str,
        states: &[TaskState],
    ) -> Result<bool, StoreError> {
        for state in states {
            let code = state.code();
            let sql = self.sql(&format!("SELECT 1 FROM {table} WHERE state = {code} LIMIT 1"));
            if sql.one(self.reader()).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One step of a shard's life, made by the leader if nobody changed the shard since it was
    /// `seen`; says whether it was made.
    pub(super) async fn step_led(
        &self,
        seen: &Shard,
        to: ShardState,
        fence: &LeaderFence,
    ) -> Result<bool, StoreError> {
        let (shard, from, version) = (&seen.id, seen.state, Some(seen.version));
        let step = Step { shard, from, to, version, now_ms: self.now_ms().await? };
        let made = self
            .transact(&(step, fence), |store, tx, (step, fence)| {
                Box::pin(async move {
                    check_fence(store, tx, fence).await?;
                    step.write(store, tx).await
                })
            })
            .await?;
        self.shards_changed(&shard.task_type);
        Ok(made)
    }
}

/// The states in which a task may still be worked on.
pub(super) fn live_states() -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|state| !state.is_terminal()).collect()
}

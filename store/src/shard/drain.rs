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
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// Were CLOSED; all their tasks are terminal.
    pub drained: Vec<ShardId>,
    /// Were DRAINED; a task was retried, or written by a broker that knew the shard as open.
    pub reopened: Vec<ShardId>,
    /// Why a shard could not be looked at, if one could not.
    pub failed: Option<StoreError>,
}

impl Store {
    /// Looks at the counts of a type's closed shards, or of all types': CLOSED without a live task
    /// becomes DRAINED, and DRAINED with one becomes CLOSED. Only while that leader leads.
    ///
    /// A task may become live between the look and the change; the next look then sees it, so this
    /// has to be repeated for as long as there are DRAINED shards.
    ///
    /// # Errors
    /// `NotLeader`; those of the database that concern all shards.
    pub async fn drain_shards(
        &self,
        task_type: Option<&TypeName>,
        fence: &LeaderFence,
    ) -> Result<Drained, StoreError> {
        let mut shards = self.list_shards(task_type).await?;
        shards.retain(|shard| matches!(shard.state, ShardState::Closed | ShardState::Drained));
        let ids: Vec<&ShardId> = shards.iter().map(|shard| &shard.id).collect();
        let counts = self.counts_of(&ids).await?;
        let live: HashSet<_> =
            counts.iter().filter(|c| !c.state.is_terminal()).map(|count| &count.shard).collect();
        let mut changed = Drained::default();
        for shard in &shards {
            match self.look_at_shard(shard, live.contains(&shard.id), fence).await {
                Ok(Some(ShardState::Drained)) => changed.drained.push(shard.id.clone()),
                Ok(Some(_)) => changed.reopened.push(shard.id.clone()),
                Ok(None) => {}
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NotLeader)) => {
                    return Err(error);
                }
                // One shard that cannot be read must not keep the others from it.
                Err(error) => changed.failed = Some(error),
            }
        }
        Ok(changed)
    }

    /// What became of one shard; `None` when it stays as it is.
    async fn look_at_shard(
        &self,
        shard: &Shard,
        is_live: bool,
        fence: &LeaderFence,
    ) -> Result<Option<ShardState>, StoreError> {
        let is_closed = shard.state == ShardState::Closed;
        if is_closed && !is_live && !self.has_live(&shard.id).await? {
            let is_drained = self.drain_step(shard, fence).await?;
            return Ok(is_drained.then_some(ShardState::Drained));
        }
        if !is_closed && is_live && !self.is_off("drain.looks_again") {
            let is_closed = self.step_led(shard, ShardState::Closed, fence).await?;
            return Ok(is_closed.then_some(ShardState::Closed));
        }
        Ok(None)
    }

    /// A shard in which a task becomes live in this transaction is not DRAINED, and one that is
    /// DROPPING is not the one that was looked at.
    pub(crate) async fn reopen(
        &self,
        tx: &DatabaseTransaction,
        shard: &ShardId,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (from, to) = (ShardState::Drained, ShardState::Closed);
        if !(Step { shard, from, to, version: None, now_ms }).write(self, tx).await? {
            let mut sql = self.sql("UPDATE shards SET version = version + 1 WHERE task_type = ");
            sql.bind(shard.task_type.as_str()).push(" AND number = ").bind(shard.number);
            sql.push(" AND state = ").bind(ShardState::Dropping.code()).run(tx).await?;
        }
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
            let mut sql = self.sql(&format!("SELECT 1 FROM {table} WHERE state = {code} LIMIT 1"));
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

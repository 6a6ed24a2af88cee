//! Drops a shard's tables.
//!
//! 1. The registry says DROPPING.
//! 2. The tables are renamed, which waits a second at most for those who use them. From now on
//!    nobody writes into them: who knew them under their old names reads the registry anew.
//! 3. Nothing live and nothing to be kept is in them; otherwise they get their names back, and the
//!    shard is CLOSED.
//! 4. The tables are dropped, that of the tasks first: when it is gone, 3 is decided. (Those of
//!    SQLite are emptied before, under names that say that it is.)
//! 5. The registry says GONE, and the counts go.
//!
//! Whoever finds DROPPING looks where the tables are and goes on from there.

use asyncflow_core::{id::ShardId, shard::ShardState};
use sea_orm::DatabaseTransaction;

use super::{
    Step,
    ddl::{Ddl, Guard},
    drain::live_states,
};
use crate::{
    Store,
    backend::Backend,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    twin,
    workflow::Left,
};

/// Under what terms a shard may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropTerms {
    /// Tasks that ended at or after this time are kept, and their shard with them.
    pub before_ms: i64,
    /// What its archive holds, if the shard may go only with all of its tasks in there.
    pub archived: Option<Archived>,
}

/// How far a shard was archived: all tasks that were in it at a version up to a key. What comes
/// later has a higher key, or makes the version a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archived {
    pub version: i64,
    /// Of the newest task; `None` when there was none.
    pub last_key: Option<i64>,
}

/// What became of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropOutcome {
    /// Its tables are gone.
    Dropped {
        /// Rows that went, by the counts.
        rows: i64,
    },
    /// Somebody used its tables for longer than a second, or is dropping it; to be tried again.
    Busy,
    /// It holds a live task, one that is to be kept, or one that is not in its archive.
    Kept {
        /// A live one.
        live: bool,
    },
    /// It is not DRAINED.
    NotDrained,
}

/// Where the tables are between the rename and the drop.
struct Names {
    old: [String; 3],
    parked: [String; 3],
    /// While SQLite empties them: it has been decided that they go.
    doomed: [String; 3],
}

impl Names {
    fn of(shard: &ShardId) -> Self {
        let old = [shard.task_table(), shard.attempt_table(), shard.label_table()];
        let parked = old.clone().map(|name| format!("drop_{name}"));
        let doomed = old.clone().map(|name| format!("gone_{name}"));
        Self { old, parked, doomed }
    }
}

impl Store {
    /// Drops a DRAINED shard, or goes on with a drop that was begun; only while that leader leads.
    /// A drop that is refused leaves the shard as it was, or CLOSED.
    ///
    /// Cancel safe: what was done stays, and the next call goes on from there.
    ///
    /// # Errors
    /// `NotFound` when there is no such shard; `NotLeader`; those of the database.
    pub async fn drop_shard(
        &self,
        shard: &ShardId,
        terms: DropTerms,
        fence: &LeaderFence,
    ) -> Result<DropOutcome, StoreError> {
        let Some(_turn) = self.take_turn(shard) else { return Ok(DropOutcome::Busy) };
        // Held to the end: on MySQL one that was stopped before its rename may still make it.
        let Some(ddl) = Ddl::begin(self, shard, Guard::Led(fence)).await? else {
            return Ok(DropOutcome::Busy);
        };
        let outcome = self.drop_with(&ddl, shard, terms, fence).await;
        ddl.end().await;
        if let Ok(DropOutcome::Dropped { .. }) = outcome {
            self.give_room_back().await?;
        }
        outcome
    }

    async fn drop_with(
        &self,
        ddl: &Ddl<'_>,
        shard: &ShardId,
        terms: DropTerms,
        fence: &LeaderFence,
    ) -> Result<DropOutcome, StoreError> {
        if !self.is_off("drop.goes_on") {
            self.undo_what_was_only_begun(shard, fence).await?;
        }
        let seen = self.registered(shard).await?;
        let found = self.drop_check(shard, terms.before_ms).await?;
        match seen.state {
            ShardState::Drained => {
                let is_archived = terms
                    .archived
                    .is_none_or(|of| of.version == seen.version && !seen.archive.is_empty());
                let is_retained = found.retained_rows > 0;
                if found.live_rows > 0 || is_retained || !is_archived {
                    return Ok(DropOutcome::Kept { live: found.live_rows > 0 });
                }
                // What was looked at is what is dropped: nothing was retried in between.
                if !self.step_led(&seen, ShardState::Dropping, fence).await? {
                    return Ok(DropOutcome::NotDrained);
                }
            }
            ShardState::Dropping if !self.is_off("drop.goes_on") => {}
            _ => return Ok(DropOutcome::NotDrained),
        }
        self.fault_point("drop.begun").await;
        match self.drop_tables(ddl, shard, terms).await {
            Ok(DropOutcome::Dropped { .. }) => {
                self.fault_point("drop.dropped").await;
                self.forget_shard(shard, fence).await?;
                Ok(DropOutcome::Dropped { rows: found.rows })
            }
            Ok(DropOutcome::Kept { live }) => {
                let now = self.registered(shard).await?;
                if now.state == ShardState::Dropping {
                    self.step_led(&now, ShardState::Closed, fence).await?;
                    // What tasks in it wait for may have come while their tables were away.
                    self.leave(vec![Left::Release]).await;
                }
                Ok(DropOutcome::Kept { live })
            }
            other => {
                self.undo_what_was_only_begun(shard, fence).await?;
                other
            }
        }
    }

    /// A shard that is DROPPING while its tables have their own names is DRAINED again: nothing was
    /// done yet, and what has come into it since is for the next look.
    async fn undo_what_was_only_begun(
        &self,
        shard: &ShardId,
        fence: &LeaderFence,
    ) -> Result<(), StoreError> {
        let seen = self.registered(shard).await?;
        if seen.state == ShardState::Dropping && self.has_table(&shard.task_table()).await? {
            self.step_led(&seen, ShardState::Drained, fence).await?;
        }
        Ok(())
    }

    async fn drop_tables(
        &self,
        ddl: &Ddl<'_>,
        shard: &ShardId,
        terms: DropTerms,
    ) -> Result<DropOutcome, StoreError> {
        let names = Names::of(shard);
        if self.has_table(&names.old[0]).await? {
            match ddl.rename(&names.old, &names.parked).await {
                Ok(()) => {}
                Err(StoreError::Contended(_)) => return Ok(DropOutcome::Busy),
                Err(error) => return Err(error),
            }
        }
        self.fault_point("drop.renamed").await;
        let tasks = &names.parked[0];
        if !self.is_off("drop.looks_again") && self.has_table(tasks).await? {
            let live = self.holds(tasks, &live_states()).await?;
            if live || self.is_kept(tasks, terms).await? {
                self.fault_point("drop.refused").await;
                ddl.rename(&names.parked, &names.old).await?;
                return Ok(DropOutcome::Kept { live });
            }
        }
        self.fault_point("drop.allowed").await;
        if self.backend() == Backend::Sqlite {
            // A table with half of its rows must not get its name back.
            if self.has_table(tasks).await? {
                ddl.rename(&names.parked, &names.doomed).await?;
            }
            self.empty(&names.doomed, ddl).await?;
        }
        for table in names.parked.iter().chain(&names.doomed) {
            if self.has_table(table).await? {
                ddl.drop(table).await?;
                self.fault_point("drop.one_table").await;
            }
        }
        Ok(DropOutcome::Dropped { rows: 0 })
    }

    /// Whether a table holds a task that is to be kept, or one that is not in the archive.
    async fn is_kept(&self, tasks: &str, terms: DropTerms) -> Result<bool, StoreError> {
        if self.retained_rows(tasks, terms.before_ms, 1).await? > 0 {
            return Ok(true);
        }
        let Some(archived) = terms.archived else { return Ok(false) };
        Ok(self.newest_key_in(tasks).await? > archived.last_key)
    }

    async fn has_table(&self, table: &str) -> Result<bool, StoreError> {
        let mut look = self.sql(&format!("SELECT 1 FROM {table} LIMIT 1"));
        match look.one(self.reader()).await {
            Ok(_) => Ok(true),
            Err(StoreError::NoSuchTable(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// GONE, and no counts. Repeating it does nothing.
    async fn forget_shard(&self, shard: &ShardId, fence: &LeaderFence) -> Result<(), StoreError> {
        let (from, to) = (ShardState::Dropping, ShardState::Gone);
        let step = Step { shard, from, to, version: None, now_ms: self.now_ms().await? };
        self.transact(&(step, fence), |store, tx, (step, fence)| {
            Box::pin(forget_once(store, tx, step, fence))
        })
        .await?;
        self.shards_changed(&shard.task_type);
        Ok(())
    }
}

async fn forget_once(
    store: &Store,
    tx: &DatabaseTransaction,
    step: &Step<'_>,
    fence: &LeaderFence,
) -> Result<(), StoreError> {
    check_fence(store, tx, fence).await?;
    if step.write(store, tx).await? {
        let mut sql = store.sql("DELETE FROM task_counts WHERE task_type = ");
        sql.bind(step.shard.task_type.as_str()).push(" AND shard = ").bind(step.shard.number);
        sql.run(tx).await?;
        // The ids of its tasks begin with its name. `_` stands for anything in a pattern.
        let name = format!("{}-{}-", step.shard.task_type, step.shard.number);
        let pattern = format!("{}%", name.replace('_', "!_"));
        for (table, column) in [("signals", "target"), ("task_waits", "waiter")] {
            let mut sql = store.sql(&format!("DELETE FROM {table} WHERE {column} LIKE "));
            sql.bind(pattern.as_str()).push(" ESCAPE '!'").run(tx).await?;
        }
        twin::forget_shard(store, tx, step.shard).await?;
    }
    Ok(())
}

//! Rolls a type over to its next shard.
//!
//! 1. A registry row CREATING behind the newest shard, unless there is one already.
//! 2. Its tables, for as long as the registry says so: whoever stood still until the shard had
//!    lived and gone makes none.
//! 3. In one transaction: it becomes OPEN, and the shards before it CLOSED.
//!
//! Until 3 new tasks go where they went before. A broker that has not heard of 3 goes on writing
//! into the closed shard for a moment, where its tasks are found all the same.

use std::sync::Arc;

use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
};
use asyncflow_migrations::shard::{Names, statements};
use sea_orm::DatabaseTransaction;

use super::{
    Step,
    ddl::{Ddl, Guard},
    open::newest_open,
};
use crate::{
    Store,
    backend::or_ignore,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

struct Registration<'a> {
    id: &'a ShardId,
    now_ms: i64,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// Makes the shard behind the newest one and lets it take the new tasks; the older ones are
    /// closed. Goes on with one that was begun. With a fence, only while that leader leads.
    /// Answers the shard that takes new tasks now.
    ///
    /// Cancel safe: what was done stays, and the next call goes on from there.
    ///
    /// # Errors
    /// `NotLeader`; `Unavailable` while another process makes the same tables; those of the
    /// database.
    pub async fn roll_shard(
        &self,
        task_type: &TypeName,
        fence: Option<&LeaderFence>,
    ) -> Result<ShardId, StoreError> {
        let shards = self.reload_shards(task_type).await?;
        self.next_shard(task_type, &shards, fence).await.map_err(StoreError::exhausted)
    }

    /// The same from what was just read of the registry: of several who saw the same, one makes the
    /// shard and the others find it made.
    pub(super) async fn next_shard(
        &self,
        task_type: &TypeName,
        shards: &[Shard],
        fence: Option<&LeaderFence>,
    ) -> Result<ShardId, StoreError> {
        let begun = shards.iter().find(|shard| shard.state == ShardState::Creating);
        let number = match (begun, shards.last()) {
            (Some(shard), _) if !self.is_off("roll.goes_on") => shard.id.number,
            (_, last) => last.map_or(1, |last| last.id.number + 1),
        };
        let id = ShardId { task_type: task_type.clone(), number };
        let now_ms = self.now_ms().await?;
        let registration = Registration { id: &id, now_ms, fence };
        self.transact(&registration, |store, tx, registration| {
            Box::pin(register_once(store, tx, registration))
        })
        .await?;
        self.fault_point("roll.registered").await;
        self.create_tables(&id).await?;
        self.fault_point("roll.created").await;
        self.transact(&registration, |store, tx, registration| {
            Box::pin(open_once(store, tx, registration))
        })
        .await?;
        self.shards_changed(task_type);
        self.fault_point("roll.opened").await;
        // Not the id from above: others may have been quicker, and even further by now.
        newest_open(&self.reload_shards(task_type).await?).ok_or(StoreError::NoSuchShard)
    }

    /// Makes a shard's tables, unless it is not, or no longer, being made.
    async fn create_tables(&self, id: &ShardId) -> Result<(), StoreError> {
        let (tasks, attempts, labels) = (id.task_table(), id.attempt_table(), id.label_table());
        let names = Names { tasks: &tasks, attempts: &attempts, labels: &labels };
        let Some(ddl) = Ddl::begin(self, id, Guard::Creating(id)).await? else {
            return Err(StoreError::Contended(Arc::new(MadeByAnother)));
        };
        let made = ddl.run(&statements(names, self.backend())).await;
        ddl.end().await;
        match made {
            Err(StoreError::Conflict { .. }) => Ok(()),
            made => made,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("another process is making these tables")]
struct MadeByAnother;

async fn register_once(
    store: &Store,
    tx: &DatabaseTransaction,
    registration: &Registration<'_>,
) -> Result<(), StoreError> {
    let Registration { id, now_ms, fence } = registration;
    if let Some(fence) = fence {
        check_fence(store, tx, fence).await?;
    }
    let mut sql = store.sql(
        "INSERT INTO shards (task_type, number, state, version, create_time_ms, update_time_ms) \
         VALUES ",
    );
    sql.tuple([
        id.task_type.as_str().into(),
        id.number.into(),
        ShardState::Creating.code().into(),
        1_i64.into(),
        (*now_ms).into(),
        (*now_ms).into(),
    ]);
    sql.push(&or_ignore(store.backend(), "task_type, number", "number"));
    sql.run(tx).await?;
    Ok(())
}

async fn open_once(
    store: &Store,
    tx: &DatabaseTransaction,
    registration: &Registration<'_>,
) -> Result<(), StoreError> {
    let Registration { id, now_ms, fence } = *registration;
    if let Some(fence) = fence {
        check_fence(store, tx, fence).await?;
    }
    let step =
        Step { shard: id, from: ShardState::Open, to: ShardState::Open, version: None, now_ms };
    let open = Step { from: ShardState::Creating, to: ShardState::Open, ..step };
    open.write(store, tx).await?;
    let close = Step { from: ShardState::Open, to: ShardState::Closed, ..step };
    let mut sql = close.update(store);
    sql.push(" WHERE task_type = ").bind(id.task_type.as_str());
    sql.push(" AND number < ").bind(id.number);
    sql.push(" AND state = ").bind(ShardState::Open.code()).run(tx).await?;
    Ok(())
}

//! Makes the twin of a straggler.

use asyncflow_core::{
    event::{Event, Tie},
    id::{ShardId, TaskId},
    speculation::twin_of,
    state::TaskState,
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::row::{self, Twin};
use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::Ledger,
    shard::{Place, is_there},
    task::{Batch, Parts, insert_tasks},
};

/// A task that is to get a twin, if it still runs as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straggler {
    pub id: TaskId,
    pub run: i32,
    pub attempt: i32,
    /// Where it runs.
    pub host: String,
}

impl Straggler {
    fn is_still(&self, task: &Task) -> bool {
        task.state == TaskState::Running
            && (task.run, task.attempt) == (self.run, self.attempt)
            && task.start_time_ms.is_some()
    }
}

struct Request<'a> {
    straggler: &'a Straggler,
    fence: &'a LeaderFence,
    /// Where the twin goes.
    shard: ShardId,
    now_ms: i64,
}

impl Store {
    /// Makes the twin of a straggler, only while that leader leads; `None` when the task does not
    /// run any more in that attempt, or has had a twin in this run.
    ///
    /// Cancel safe; a twin whose answer is lost is there, and there is no second one.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn make_twin(
        &self,
        straggler: &Straggler,
        fence: &LeaderFence,
    ) -> Result<Option<Task>, StoreError> {
        self.fault_point("twin.seen").await;
        if self.place(&straggler.id.shard).await? != Place::Here {
            return Ok(None);
        }
        // A transaction cannot make tables.
        let shard = self.open_shard(straggler.id.task_type()).await?;
        let now_ms = self.now_ms().await?;
        let request = Request { straggler, fence, shard, now_ms };
        let made = self
            .transact(&request, |store, tx, request| Box::pin(make_once(store, tx, request)))
            .await;
        if let Err(StoreError::NoSuchTable(_)) = &made {
            self.shard_cache().forget(straggler.id.task_type());
        }
        let made = made.map_err(StoreError::exhausted)?;
        self.announce(made.iter().flatten());
        Ok(made.map(|[_, twin]| twin))
    }
}

/// The original and its twin.
async fn make_once(
    store: &Store,
    tx: &DatabaseTransaction,
    Request { straggler, fence, shard, now_ms }: &Request<'_>,
) -> Result<Option<[Task; 2]>, StoreError> {
    check_fence(store, tx, fence).await?;
    let Straggler { id, run, host, .. } = straggler;
    if !is_there(store, tx, &id.shard).await? {
        return Ok(None);
    }
    let (mut batch, _) = Batch::read(store, tx, &id.shard, vec![id.key], true).await?;
    let Some(task) = batch.task(id.key) else { return Ok(None) };
    if !straggler.is_still(task) && !store.is_off("twin.looks_again") {
        return Ok(None);
    }
    if row::of_run(store, tx, id, *run).await?.is_some() {
        return Ok(None);
    }
    let mut ledger = Ledger::default();
    let bound = batch.apply(id.key, &Event::Bind(Tie::Twinned), *now_ms, &mut ledger);
    let Ok(Some(bound)) = bound.map(|task| task.cloned()) else { return Ok(None) };
    let parts = Parts { result: false, ..Parts::ALL };
    let Some(original) = row::read_full(store, tx, id, parts).await? else { return Ok(None) };
    batch.write(store, tx).await?;
    let twin_id = TaskId { shard: shard.clone(), key: store.next_key(*now_ms) };
    let twin = twin_of(&original, twin_id.clone(), *now_ms);
    let row = Twin { original: id.clone(), run: *run, twin: twin_id, host: host.clone() };
    row::insert(store, tx, &row, *now_ms).await?;
    insert_tasks(store, tx, shard, &[&twin]).await?;
    // Its place was looked up a while ago, if the original had to be waited for.
    store.reopen(tx, shard, *now_ms).await?;
    ledger.created(&twin.task);
    ledger.write(store, tx, *now_ms).await?;
    Ok(Some([bound, twin.task]))
}

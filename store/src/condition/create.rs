//! Creates a task that does not run before others have ended or signals have come.

use std::sync::atomic::{AtomicU32, Ordering};

use asyncflow_core::{
    digest,
    id::{ShardId, TaskId},
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::{
    hold::{Conditions, hold},
    rows::insert,
};
use crate::{
    Create, InsertError, InsertRefusal, Inserted, Store,
    error::StoreError,
    ledger::Ledger,
    task::{Requests, insert_tasks, known_requests, note_requests},
};

/// Why a task with conditions was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateWaitingError {
    /// It could never run, and why, for people.
    #[error("{0}")]
    InVain(String),
    #[error(transparent)]
    Insert(#[from] InsertError),
}

enum Outcome {
    Created(Box<Task>),
    Known { id: TaskId, same: bool },
    InVain(String),
}

struct Request<'a> {
    create: &'a Create,
    shard: ShardId,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates a task with conditions, by itself: BLOCKED, or ready if they hold already.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// [`CreateWaitingError`].
    pub async fn create_waiting(&self, create: &Create) -> Result<Inserted, CreateWaitingError> {
        let insert = |error: StoreError| CreateWaitingError::Insert(error.into());
        let shard = self.open_shard(&create.new.task_type).await.map_err(insert)?;
        self.fault_point("waiting.placed").await;
        let now_ms = self.now_ms().await.map_err(insert)?;
        let request = Request { create, shard, now_ms, runs: AtomicU32::new(0) };
        let outcome = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await;
        if let Err(StoreError::NoSuchTable(_)) = &outcome {
            self.shard_cache().forget(&create.new.task_type);
        }
        match outcome.map_err(|error| insert(error.exhausted()))? {
            Outcome::Created(task) => {
                self.announce([&*task]);
                Ok(Inserted { task: *task, deduplicated: false, handed: None })
            }
            Outcome::Known { id, same } => Ok(self.known(id, same).await?),
            Outcome::InVain(what) => Err(CreateWaitingError::InVain(what)),
        }
    }
}

async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Outcome, StoreError> {
    let Request { create: Create { new, task_type }, shard, now_ms, runs } = request;
    let digest = digest::new_task(new);
    // Only a duplicate key tells that a request was made before, so only a repetition looks.
    if runs.fetch_add(1, Ordering::Relaxed) > 0 {
        let known = known_requests(store, tx, std::iter::once(new)).await?;
        if let Some((first, id)) = known.into_values().next() {
            return Ok(Outcome::Known { id, same: first == digest });
        }
    }
    let id = TaskId { shard: shard.clone(), key: store.next_key(*now_ms) };
    let mut ledger = Ledger::default();
    let mut full = new.clone().into_task(task_type, id.clone(), *now_ms);
    let conditions = Conditions::of(new);
    let held = hold(store, tx, &mut full, &conditions, None, (*now_ms, &mut ledger)).await?;
    let rows = match held {
        Ok(rows) => rows,
        // The request has made nothing, and may be repeated when things have changed.
        Err(what) => {
            ledger.write(store, tx, *now_ms).await?;
            return Ok(Outcome::InVain(what));
        }
    };
    if let Some(request_id) = &new.request_id {
        let made = ((new.user.as_str(), request_id.as_str()), (digest, id));
        note_requests(store, tx, Requests::from([made]), *now_ms).await?;
    }
    ledger.created(&full.task);
    insert_tasks(store, tx, shard, &[&full]).await?;
    // Its place was looked up a while ago, if it had to wait for others.
    store.reopen(tx, shard, *now_ms).await?;
    insert(store, tx, rows).await?;
    ledger.write(store, tx, *now_ms).await?;
    Ok(Outcome::Created(Box::new(full.task)))
}

impl From<InsertRefusal> for CreateWaitingError {
    fn from(refusal: InsertRefusal) -> Self {
        Self::Insert(refusal.into())
    }
}

//! Applies events to tasks: the write path of everything but create, claim and delete.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId},
    task::Task,
    transition::Refusal,
};
use sea_orm::DatabaseTransaction;

use super::write::Batch;
use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::Ledger,
    shard::Place,
};

/// A task after an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub task: Task,
}

/// Why an event was not applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("there is no such task")]
    NotFound,
    /// Its shard was dropped by retention; where the manifest of its archive is, or empty.
    #[error("the task was removed by retention")]
    Expired { archive: String },
    /// The state machine refused it; the task as it is.
    #[error("{0}")]
    Refused(Refusal, Box<Task>),
    /// What the caller had seen does not hold any more; the task as it is.
    #[error("the task has moved on")]
    MovedOn(Box<Task>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One event for one task.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub id: TaskId,
    pub event: Event,
    pub guard: Guard,
}

/// What must hold besides the edges of the state machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guard {
    None,
    /// This attempt is in force.
    Attempt(i32),
    /// This attempt is in force, was not renewed since, and its lease has run out.
    Silent {
        attempt: i32,
        beats: i64,
    },
    /// It is terminal and ended before this time.
    FinishedBefore(i64),
}

impl Guard {
    fn holds(self, task: &Task, now_ms: i64) -> bool {
        match self {
            Self::None => true,
            Self::Attempt(attempt) => task.attempt == attempt && task.state.is_leased(),
            Self::Silent { attempt, beats } => {
                task.attempt == attempt
                    && task.holder.beats == beats
                    && task.state.is_leased()
                    && task.order_time_ms < now_ms
            }
            Self::FinishedBefore(before_ms) => {
                task.finish_time_ms.is_some_and(|finish_ms| finish_ms < before_ms)
            }
        }
    }
}

type Answer = Result<Applied, ApplyError>;

struct Request<'a> {
    items: &'a [Item],
    places: &'a BTreeMap<ShardId, Place>,
    fence: Option<&'a LeaderFence>,
    runs: AtomicU32,
}

impl Store {
    /// Applies events in one transaction; the answers are in the order of `events`. Several events
    /// of one task are applied one after the other. A refusal never fails its neighbours.
    ///
    /// Cancel safe, but the outcome is then unknown; every event is refused or a replay when it is
    /// repeated.
    pub async fn apply(&self, events: Vec<(TaskId, Event)>) -> Vec<Answer> {
        let items = events.into_iter().map(|(id, event)| Item { id, event, guard: Guard::None });
        self.apply_items(items.collect(), None).await
    }

    pub(crate) async fn apply_items(
        &self,
        items: Vec<Item>,
        fence: Option<&LeaderFence>,
    ) -> Vec<Answer> {
        if items.is_empty() {
            return Vec::new();
        }
        let answers = self.apply_or_split(&items, fence).await;
        // A heartbeat is no news; a batch of nothing else must not wake those who watch.
        (items.iter().filter(|item| item.event.revives()))
            .for_each(|item| self.shards_changed(item.id.task_type()));
        let news = answers.iter().zip(&items).filter_map(|(answer, item)| {
            let heartbeat = matches!(item.event, Event::Heartbeat { .. });
            answer.as_ref().ok().filter(|_| !heartbeat).map(|applied| &applied.task)
        });
        self.announce(news);
        answers
    }

    async fn apply_or_split(&self, items: &[Item], fence: Option<&LeaderFence>) -> Vec<Answer> {
        let error = match self.apply_batch(items, fence).await {
            Ok(answers) => return answers,
            Err(StoreError::NoSuchTable(_)) => {
                items.iter().for_each(|item| self.shard_cache().forget(item.id.task_type()));
                match self.apply_batch(items, fence).await {
                    Ok(answers) => return answers,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // A shard that is being dropped must not keep the others' tasks waiting.
        let is_shard = matches!(error, StoreError::NoSuchTable(_));
        if !(is_shard || error.may_be_one_row()) || items.len() == 1 {
            let error = error.exhausted();
            return items.iter().map(|_| Err(error.clone().into())).collect();
        }
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            match self.apply_batch(std::slice::from_ref(item), fence).await {
                Ok(mut one) => answers.append(&mut one),
                Err(error) => answers.push(Err(error.exhausted().into())),
            }
        }
        answers
    }

    async fn apply_batch(
        &self,
        items: &[Item],
        fence: Option<&LeaderFence>,
    ) -> Result<Vec<Answer>, StoreError> {
        // Asked before the transaction: inside, it would need a second connection of the pool.
        let mut places = BTreeMap::new();
        for item in items {
            if !places.contains_key(&item.id.shard) {
                places.insert(item.id.shard.clone(), self.place(&item.id.shard).await?);
            }
        }
        let request = Request { items, places: &places, fence, runs: AtomicU32::new(0) };
        self.transact(&request, |store, tx, request| Box::pin(apply_once(store, tx, request))).await
    }
}

async fn apply_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Vec<Answer>, StoreError> {
    if let Some(fence) = request.fence {
        check_fence(store, tx, fence).await?;
    }
    // What is written is compared with what was read, so locks are for those who were too late.
    let locks = request.runs.fetch_add(1, Ordering::Relaxed) > 0;
    let mut by_shard: BTreeMap<&ShardId, Vec<usize>> = BTreeMap::new();
    for (at, item) in request.items.iter().enumerate() {
        by_shard.entry(&item.id.shard).or_default().push(at);
    }
    let mut answers: Vec<Answer> = vec![Err(ApplyError::NotFound); request.items.len()];
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    for (shard, members) in by_shard {
        match request.places.get(shard) {
            Some(Place::Here) => {}
            Some(Place::Gone { archive }) => {
                let expired = ApplyError::Expired { archive: archive.clone() };
                members.iter().for_each(|&at| answers[at] = Err(expired.clone()));
                continue;
            }
            Some(Place::Unknown) | None => continue,
        }
        let keys = members.iter().map(|&at| request.items[at].id.key).collect();
        let revives = members.iter().any(|&at| request.items[at].event.revives());
        let (mut batch, now_ms) = Batch::read(store, tx, shard, keys, locks).await?;
        last_ms = last_ms.max(now_ms);
        for at in members {
            answers[at] = apply_one(&mut batch, &request.items[at], now_ms, &mut ledger);
        }
        batch.write(store, tx).await?;
        if revives && !store.is_off("retry.reopens") {
            store.reopen(tx, shard, now_ms).await?;
        }
    }
    ledger.write(store, tx, last_ms).await?;
    Ok(answers)
}

fn apply_one(batch: &mut Batch, item: &Item, now_ms: i64, ledger: &mut Ledger) -> Answer {
    let key = item.id.key;
    let Some(task) = batch.task(key) else { return Err(ApplyError::NotFound) };
    if !item.guard.holds(task, now_ms) {
        return Err(ApplyError::MovedOn(Box::new(task.clone())));
    }
    let before = task.clone();
    match batch.apply(key, &item.event, now_ms, ledger) {
        Ok(Some(task)) => Ok(Applied { task: task.clone() }),
        Ok(None) => Err(ApplyError::NotFound),
        Err(refusal) => Err(ApplyError::Refused(refusal, Box::new(before))),
    }
}

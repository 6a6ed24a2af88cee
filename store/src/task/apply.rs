//! Applies events to tasks: the write path of everything but create, claim and delete.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncflow_core::{
    event::{Event, Settle},
    id::{ShardId, TaskId},
    lease::is_out_of_force,
    state::TaskState,
    task::Task,
    transition::Refusal,
};
use sea_orm::DatabaseTransaction;

use super::write::Batch;
use crate::{
    Store,
    condition::{Consequences, PendingWait, PendingWaits, pending_waits},
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::Ledger,
    shard::Place,
    workflow::{Followed, Left},
};

/// A task after an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub task: Task,
    /// The tasks that were made because of it, and of others in its transaction: the next ones of
    /// their workflows.
    pub made: Vec<Task>,
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
    /// This attempt is in force, was not renewed since, and its lease is in force no more.
    Silent {
        attempt: i32,
        beats: i64,
    },
    /// It is terminal and ended before this time.
    FinishedBefore(i64),
    /// It is in one of these states and, if it is terminal, ended before this time.
    Chosen {
        states: StateSet,
        finished_before_ms: i64,
    },
}

/// A set of states, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateSet(u16);

impl StateSet {
    /// These states; none = all.
    pub fn of(states: &[TaskState]) -> Self {
        let states = if states.is_empty() { &TaskState::ALL } else { states };
        Self(states.iter().fold(0, |bits, state| bits | 1 << state.code()))
    }

    fn has(self, state: TaskState) -> bool {
        self.0 & 1 << state.code() != 0
    }
}

impl Guard {
    pub(super) fn holds(self, task: &Task, now_ms: i64) -> bool {
        match self {
            Self::None => true,
            Self::Attempt(attempt) => task.attempt == attempt && task.state.is_leased(),
            Self::Silent { attempt, beats } => {
                task.attempt == attempt
                    && task.holder.beats == beats
                    && task.state.is_leased()
                    && is_out_of_force(task.order_time_ms, now_ms)
            }
            Self::FinishedBefore(before_ms) => {
                task.finish_time_ms.is_some_and(|finish_ms| finish_ms < before_ms)
            }
            Self::Chosen { states, finished_before_ms } => {
                let is_later = |finish_ms| finish_ms >= finished_before_ms;
                states.has(task.state) && !task.finish_time_ms.is_some_and(is_later)
            }
        }
    }
}

pub(crate) type Answer = Result<Applied, ApplyError>;

/// What a transaction answers, and what is left to be done for workflows.
#[derive(Default)]
struct Outcome {
    answers: Vec<Answer>,
    left: Vec<Left>,
}

/// What became of shards.
pub(crate) type Places = BTreeMap<ShardId, Place>;

struct Request<'a> {
    items: &'a [Item],
    places: &'a Places,
    fence: Option<&'a LeaderFence>,
    /// The database's time, as far as it is known without asking.
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Applies events in one transaction; the answers are in the order of `events`. Several events
    /// of one task are applied one after the other. A refusal never fails its neighbours.
    ///
    /// Cancel safe, but the outcome is then unknown; every event is refused or a replay when it is
    /// repeated.
    pub async fn apply(&self, events: Vec<(TaskId, Event)>) -> Vec<Answer> {
        self.apply_led(events, None).await
    }

    /// The same for one that leads: with a fence, only while that leader does.
    pub(crate) async fn apply_led(
        &self,
        events: Vec<(TaskId, Event)>,
        fence: Option<&LeaderFence>,
    ) -> Vec<Answer> {
        let items = events.into_iter().map(|(id, event)| Item { id, event, guard: Guard::None });
        self.apply_items(items.collect(), fence).await
    }

    pub(crate) async fn apply_items(
        &self,
        items: Vec<Item>,
        fence: Option<&LeaderFence>,
    ) -> Vec<Answer> {
        if items.is_empty() {
            return Vec::new();
        }
        let (mut answers, left) = self.apply_and_follow(&items, fence).await;
        if !left.is_empty() {
            let made = self.leave(left).await;
            if let Some(first) = answers.iter_mut().flatten().next() {
                first.made.extend(made);
            }
        }
        answers
    }

    /// Applies events as a part of what follows in a workflow; refusals are left at that.
    pub(crate) async fn apply_for_workflow(&self, events: Vec<(TaskId, Event)>) -> Followed {
        let items = events.into_iter().map(|(id, event)| Item { id, event, guard: Guard::None });
        let (answers, left) = self.apply_and_follow(&items.collect::<Vec<_>>(), None).await;
        let made = answers.into_iter().flatten().flat_map(|applied| applied.made).collect();
        Followed { made, left }
    }

    async fn apply_and_follow(
        &self,
        items: &[Item],
        fence: Option<&LeaderFence>,
    ) -> (Vec<Answer>, Vec<Left>) {
        if items.is_empty() {
            return Default::default();
        }
        let Outcome { answers, left } = self.apply_or_split(items, fence).await;
        self.tell_applied(items, &answers);
        (answers, left)
    }

    /// After the COMMIT: lets everybody know what happened.
    pub(crate) fn tell_applied(&self, items: &[Item], answers: &[Answer]) {
        self.leases().note(answers.iter().flatten().map(|applied| &applied.task));
        // A heartbeat is no news; a batch of nothing else must not wake those who watch.
        (items.iter().filter(|item| item.event.revives()))
            .for_each(|item| self.shards_changed(item.id.task_type()));
        let news = answers.iter().zip(items).filter_map(|(answer, item)| {
            let heartbeat = matches!(item.event, Event::Heartbeat { .. });
            answer.as_ref().ok().filter(|_| !heartbeat).map(|applied| &applied.task)
        });
        let made = answers.iter().flatten().flat_map(|applied| &applied.made);
        self.announce(news.chain(made));
    }

    async fn apply_or_split(&self, items: &[Item], fence: Option<&LeaderFence>) -> Outcome {
        let error = match self.apply_batch(items, fence).await {
            Ok(outcome) => return outcome,
            Err(StoreError::NoSuchTable(_)) => {
                items.iter().for_each(|item| self.shard_cache().forget(item.id.task_type()));
                match self.apply_batch(items, fence).await {
                    Ok(outcome) => return outcome,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if matches!(error, StoreError::Unavailable { .. }) {
            self.leases().forget_all();
        }
        // A shard that is being dropped must not keep the others' tasks waiting.
        let is_shard = matches!(error, StoreError::NoSuchTable(_));
        if !(is_shard || error.may_be_one_row()) || items.len() == 1 {
            let error = error.exhausted();
            let answers = items.iter().map(|_| Err(error.clone().into())).collect();
            return Outcome { answers, left: Vec::new() };
        }
        let mut all = Outcome::default();
        for item in items {
            match self.apply_batch(std::slice::from_ref(item), fence).await {
                Ok(mut one) => {
                    all.answers.append(&mut one.answers);
                    all.left.append(&mut one.left);
                }
                Err(error) => all.answers.push(Err(error.exhausted().into())),
            }
        }
        all
    }

    async fn apply_batch(
        &self,
        items: &[Item],
        fence: Option<&LeaderFence>,
    ) -> Result<Outcome, StoreError> {
        let places = self.places(items.iter().map(|item| &item.id.shard)).await?;
        let now_ms = self.now_ms().await?;
        let request = Request { items, places: &places, fence, now_ms, runs: AtomicU32::new(0) };
        self.transact(&request, |store, tx, request| Box::pin(apply_once(store, tx, request))).await
    }

    /// What became of the shards. Asked before the transaction: inside, it would need a second
    /// connection of the pool.
    pub(crate) async fn places<'a>(
        &self,
        shards: impl Iterator<Item = &'a ShardId>,
    ) -> Result<Places, StoreError> {
        let mut places = BTreeMap::new();
        for shard in shards {
            if !places.contains_key(shard) {
                places.insert(shard.clone(), self.place(shard).await?);
            }
        }
        Ok(places)
    }
}

/// Applies events within the transaction of something larger. The answers are in the order of
/// `items`; after the COMMIT they are told by [`Store::tell_applied`], and what is left is done by
/// [`Store::leave`].
pub(crate) async fn apply_within(
    store: &Store,
    tx: &DatabaseTransaction,
    items: &[Item],
    places: &Places,
    now_ms: i64,
) -> Result<(Vec<Answer>, Vec<Left>), StoreError> {
    // Read with locks: what the transaction does besides is not to be done again for nothing.
    let request = Request { items, places, fence: None, now_ms, runs: AtomicU32::new(1) };
    let outcome = apply_once(store, tx, &request).await?;
    Ok((outcome.answers, outcome.left))
}

async fn apply_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Outcome, StoreError> {
    if let Some(fence) = request.fence {
        check_fence(store, tx, fence).await?;
    }
    // What is written is compared with what was read, so locks are for those who were too late.
    let locks = request.runs.fetch_add(1, Ordering::Relaxed) > 0;
    let (items, waits) = with_waits(store, tx, request.items).await?;
    let request = &Request { items: &items, runs: AtomicU32::new(0), ..*request };
    let mut by_shard: BTreeMap<&ShardId, Vec<usize>> = BTreeMap::new();
    for (at, item) in request.items.iter().enumerate() {
        by_shard.entry(&item.id.shard).or_default().push(at);
    }
    let mut answers: Vec<Answer> = vec![Err(ApplyError::NotFound); request.items.len()];
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    let mut consequences = Consequences::default();
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
        let part = Part { request, shard, members: &members };
        let known = if locks { None } else { part.by_leases(store, tx).await? };
        let applied = match known {
            Some(applied) => applied,
            None => part.by_rows(store, tx, locks).await?,
        };
        last_ms = last_ms.max(applied.now_ms);
        members.iter().zip(applied.answers).for_each(|(&at, answer)| answers[at] = answer);
        ledger.absorb(applied.ledger);
        consequences.note(applied.batch.changes());
        applied.batch.write(store, tx).await?;
        let revives = members.iter().any(|&at| request.items[at].event.revives());
        if revives && !store.is_off("retry.reopens") {
            store.reopen(tx, shard, applied.now_ms).await?;
        }
    }
    for (at, PendingWait { rows, .. }) in waits {
        // What another event of this transaction has made of it counts.
        let is_last = |other: &usize| request.items[*other].id == request.items[at].id;
        let last = (at..answers.len()).rev().filter(is_last).find(|other| answers[*other].is_ok());
        let waits_on = last.and_then(|last| answers[last].as_ref().ok());
        if answers[at].is_ok() && waits_on.is_some_and(|applied| applied.task.is_blocked()) {
            consequences.wait(rows);
        }
    }
    let Followed { made, left } = consequences.follow(store, tx, last_ms, &mut ledger).await?;
    if let Some(first) = answers.iter_mut().flatten().next() {
        first.made = made;
    }
    ledger.write(store, tx, last_ms).await?;
    Ok(Outcome { answers, left })
}

/// The events of those who give their slots back until something comes, which say now whether it
/// is there. Without any, nothing.
async fn with_waits<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    items: &'a [Item],
) -> Result<(Cow<'a, [Item]>, PendingWaits), StoreError> {
    let is_wait =
        |item: &&Item| matches!(item.event, Event::Settle { settle: Settle::Wait { .. }, .. });
    if !items.iter().any(|item| is_wait(&item)) {
        return Ok((Cow::Borrowed(items), PendingWaits::new()));
    }
    let events = items.iter().map(|item| (&item.id, &item.event));
    let waits = pending_waits(store, tx, events).await?;
    let mut items = items.to_vec();
    for (at, item) in items.iter_mut().enumerate() {
        if let Event::Settle { settle: Settle::Wait { is_pending, or_fail, .. }, .. } =
            &mut item.event
            && let Some(found) = waits.get(&at)
        {
            *is_pending = !found.rows.is_empty();
            // It could not know that, and will find it the next time.
            or_fail.take_if(|_| found.is_news);
        }
    }
    Ok((Cow::Owned(items), waits))
}

/// The events of one shard.
struct Part<'a> {
    request: &'a Request<'a>,
    shard: &'a ShardId,
    members: &'a [usize],
}

/// What follows from them, before it is written.
struct AppliedPart {
    batch: Batch,
    answers: Vec<Answer>,
    ledger: Ledger,
    now_ms: i64,
}

impl Part<'_> {
    fn items(&self) -> impl Iterator<Item = &Item> {
        self.members.iter().map(|&at| &self.request.items[at])
    }

    fn apply(&self, mut batch: Batch, now_ms: i64) -> AppliedPart {
        let mut ledger = Ledger::default();
        let answers =
            self.items().map(|item| apply_one(&mut batch, item, now_ms, &mut ledger)).collect();
        AppliedPart { batch, answers, ledger, now_ms }
    }

    async fn by_rows(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        locks: bool,
    ) -> Result<AppliedPart, StoreError> {
        let keys = self.items().map(|item| item.id.key).collect();
        let (batch, now_ms) = Batch::read(store, tx, self.shard, keys, locks).await?;
        Ok(self.apply(batch, now_ms))
    }

    /// The same without reading the tasks that this process has written last, if that makes a
    /// change of each of them: nobody is refused by what may be old.
    async fn by_leases(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
    ) -> Result<Option<AppliedPart>, StoreError> {
        if self.items().any(|item| !matches!(item.guard, Guard::None)) {
            return Ok(None);
        }
        let known = store.leases().known(self.shard, self.items().map(|item| item.id.key));
        if known.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::of(self.shard, known);
        let is_known: Vec<bool> =
            self.items().map(|item| batch.task(item.id.key).is_some()).collect();
        let missing = self.items().zip(&is_known).filter(|(_, is_known)| !**is_known);
        let missing: Vec<i64> = missing.map(|(item, _)| item.id.key).collect();
        batch.extend(Batch::read(store, tx, self.shard, missing, false).await?.0);
        let applied = self.apply(batch, self.request.now_ms);
        let mut of_known = self.items().zip(&applied.answers).zip(&is_known);
        let all_changed = of_known.all(|((item, answer), is_known)| {
            !is_known || answer.is_ok() && applied.batch.is_changed(item.id.key)
        });
        Ok(all_changed.then_some(applied))
    }
}

fn apply_one(batch: &mut Batch, item: &Item, now_ms: i64, ledger: &mut Ledger) -> Answer {
    let key = item.id.key;
    let Some(task) = batch.task(key) else { return Err(ApplyError::NotFound) };
    if !item.guard.holds(task, now_ms) {
        return Err(ApplyError::MovedOn(Box::new(task.clone())));
    }
    let before = task.clone();
    if let (true, Some(member)) = (item.event.revives(), task.member) {
        let refusal = Refusal::OfWorkflow(member.workflow, "retried");
        return Err(ApplyError::Refused(refusal, Box::new(before)));
    }
    match batch.apply(key, &item.event, now_ms, ledger) {
        Ok(Some(task)) => Ok(Applied { task: task.clone(), made: Vec::new() }),
        Ok(None) => Err(ApplyError::NotFound),
        Err(refusal) => Err(ApplyError::Refused(refusal, Box::new(before))),
    }
}

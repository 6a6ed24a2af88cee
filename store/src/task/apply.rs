//! Applies events to tasks: the write path of everything but create, claim and delete.

use std::{
    collections::BTreeMap,
    mem,
    sync::atomic::{AtomicU32, Ordering},
};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId},
    task::Task,
    transition::Refusal,
};
use sea_orm::DatabaseTransaction;

use super::{
    guard::Guard,
    judge::{self, Unjudged},
    unfenced,
    waits::{note_waits, with_waits},
    write::Batch,
};
use crate::{
    Store,
    condition::Consequences,
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

pub(crate) type Answer = Result<Applied, ApplyError>;

/// What a transaction answers, and what is left to be done for workflows.
#[derive(Default)]
struct Outcome {
    answers: Vec<Answer>,
    left: Vec<Left>,
    /// Results that are to be looked at first; then nothing was written.
    unjudged: Vec<Unjudged>,
}

/// What became of shards.
pub(crate) type Places = BTreeMap<ShardId, Place>;

struct Request<'a> {
    items: &'a [Item],
    places: &'a Places,
    fence: Option<&'a LeaderFence>,
    /// The database's time, as far as it is known without asking.
    now_ms: i64,
    /// Results that nobody has looked at are looked at within.
    judges: bool,
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
        let Outcome { answers, left, .. } = self.apply_or_split(items, fence).await;
        if answers.iter().flatten().any(|applied| !applied.made.is_empty()) {
            self.fault_point("apply.followed").await;
        }
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
            return Outcome { answers, ..Outcome::default() };
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
        let request = |items, judges| Request {
            items,
            places: &places,
            fence,
            now_ms,
            judges,
            runs: AtomicU32::new(0),
        };
        let apply = |request| async move {
            self.transact(&request, |store, tx, request| Box::pin(apply_once(store, tx, request)))
                .await
        };
        let outcome = apply(request(items, false)).await?;
        if outcome.unjudged.is_empty() {
            return Ok(outcome);
        }
        let mut items = items.to_vec();
        self.judge_items(&mut items, outcome.unjudged).await;
        apply(request(&items, true)).await
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
    let runs = AtomicU32::new(1);
    let request = Request { items, places, fence: None, now_ms, judges: true, runs };
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
    let mut applied = Vec::with_capacity(by_shard.len());
    for (shard, members) in &by_shard {
        match request.places.get(shard) {
            Some(Place::Here) => {
                let part = Part { request, shard, members };
                applied.push(part.applied(store, tx, locks).await?);
            }
            Some(Place::Gone { archive }) => {
                let expired = ApplyError::Expired { archive: archive.clone() };
                members.iter().for_each(|&at| answers[at] = Err(expired.clone()));
            }
            Some(Place::Unknown) | None => {}
        }
    }
    let unjudged: Vec<Unjudged> =
        applied.iter_mut().flat_map(|of| mem::take(&mut of.unjudged)).collect();
    if !unjudged.is_empty() {
        return Ok(Outcome { unjudged, ..Outcome::default() });
    }
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    let mut consequences = Consequences::default();
    for of in applied {
        last_ms = last_ms.max(of.now_ms);
        of.members.iter().zip(of.answers).for_each(|(&at, answer)| answers[at] = answer);
        ledger.absorb(of.ledger);
        consequences.note(of.batch.changes());
        of.batch.write(store, tx).await?;
        let revives = of.members.iter().any(|&at| request.items[at].event.revives());
        if revives && !store.is_off("retry.reopens") {
            store.reopen(tx, of.shard, of.now_ms).await?;
        }
    }
    note_waits(request.items, &answers, waits, &mut consequences);
    let Followed { made, left } = consequences.follow(store, tx, last_ms, &mut ledger).await?;
    if let Some(first) = answers.iter_mut().flatten().next() {
        first.made = made;
    }
    ledger.write(store, tx, last_ms).await?;
    Ok(Outcome { answers, left, unjudged })
}

/// The events of one shard.
struct Part<'a> {
    request: &'a Request<'a>,
    shard: &'a ShardId,
    members: &'a [usize],
}

/// What follows from them, before it is written.
struct AppliedPart<'a> {
    shard: &'a ShardId,
    members: &'a [usize],
    batch: Batch,
    answers: Vec<Answer>,
    ledger: Ledger,
    now_ms: i64,
    unjudged: Vec<Unjudged>,
}

impl<'a> Part<'a> {
    async fn applied(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        locks: bool,
    ) -> Result<AppliedPart<'a>, StoreError> {
        let known = if locks { None } else { self.by_leases(store, tx).await? };
        match known {
            Some(applied) => Ok(applied),
            None => self.by_rows(store, tx, locks).await,
        }
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.members.iter().map(|&at| &self.request.items[at])
    }

    fn apply(&self, store: &Store, mut batch: Batch, now_ms: i64) -> AppliedPart<'a> {
        let Self { shard, members, .. } = *self;
        let mut ledger = Ledger::default();
        let mut unjudged = Vec::new();
        if !self.request.judges {
            let of = |(&at, item): (&usize, &Item)| {
                let task = batch.task(item.id.key)?;
                Some((at, judge::unjudged(&item.event, task)?.to_owned()))
            };
            unjudged.extend(self.members.iter().zip(self.items()).filter_map(of));
        }
        if !unjudged.is_empty() {
            let answers = Vec::new();
            return AppliedPart { shard, members, batch, answers, ledger, now_ms, unjudged };
        }
        let answers = self
            .items()
            .map(|item| apply_one(store, &mut batch, item, now_ms, &mut ledger))
            .collect();
        AppliedPart { shard, members, batch, answers, ledger, now_ms, unjudged }
    }

    async fn by_rows(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
        locks: bool,
    ) -> Result<AppliedPart<'a>, StoreError> {
        let keys = self.items().map(|item| item.id.key).collect();
        let (batch, now_ms) = Batch::read(store, tx, self.shard, keys, locks).await?;
        Ok(self.apply(store, batch, now_ms))
    }

    /// The same without reading the tasks that this process has written last, if that makes a
    /// change of each of them: nobody is refused by what may be old.
    async fn by_leases(
        &self,
        store: &Store,
        tx: &DatabaseTransaction,
    ) -> Result<Option<AppliedPart<'a>>, StoreError> {
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
        let applied = self.apply(store, batch, self.request.now_ms);
        // Those that are not answered yet have all that is known of them.
        let mut of_known = self.items().zip(&applied.answers).zip(&is_known);
        let all_changed = of_known.all(|((item, answer), is_known)| {
            !is_known || answer.is_ok() && applied.batch.is_changed(item.id.key)
        });
        Ok(all_changed.then_some(applied))
    }
}

fn apply_one(
    store: &Store,
    batch: &mut Batch,
    item: &Item,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Answer {
    let (item, key) = (&*unfenced::planted(store, batch, item), item.id.key);
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

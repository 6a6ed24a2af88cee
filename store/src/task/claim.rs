//! Claims tasks: one conditional change for the sum of what several workers ask.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use asyncflow_core::{
    event::{Event, Fence},
    id::{ShardId, TypeName},
    placement::Placed,
    task::{Content, FullTask, Task},
};
use sea_orm::DatabaseTransaction;

use super::{
    acquires,
    candidates::{Candidates, Mark, find},
    places::Places,
    write::Batch,
};
use crate::{Store, error::StoreError, ledger::Ledger};

/// A worker's session that waits for tasks.
#[derive(Clone, Debug)]
pub struct Taker {
    pub worker_id: String,
    pub session_id: i64,
    /// Repeating it returns the same tasks, see [`Store::acquired`]; empty = not repeatable.
    pub acquire_id: String,
    /// Most tasks it takes.
    pub want: u32,
    /// It begins at once what it gets, so that this counts as started, under a lease of so many
    /// milliseconds. `None`: it has the hand-out's time to say that it started.
    pub lease_ttl_ms: Option<i64>,
    /// It has no use for tasks of this type without a command, and is given those last.
    pub takes_only_commands: bool,
}

impl Taker {
    /// It takes a task.
    pub(super) fn claims(&self, handout_ttl_ms: i64) -> Event {
        let (worker_id, session_id) = (self.worker_id.clone(), self.session_id);
        Event::Claim { worker_id, session_id, handout_ttl_ms }
    }

    /// It begins a task that it has taken, if it does so at once.
    pub(super) fn starts(&self, taken: &Task) -> Option<Event> {
        let fence = Fence { attempt: taken.attempt, session_id: self.session_id };
        self.lease_ttl_ms.map(|lease_ttl_ms| Event::Start { fence, lease_ttl_ms })
    }
}

/// What is to be claimed, and for whom.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub task_type: TypeName,
    /// Most tasks of this claim, however much the takers want.
    pub limit: u32,
    /// Served in this order.
    pub takers: Vec<Taker>,
    /// Nobody else claims tasks of this type now, as far as the caller knows. Then they are read
    /// without locks, and a claim that somebody got ahead of is repeated with them.
    pub is_alone: bool,
    /// Claim only behind these marks. A shard without a mark is claimed from its start.
    pub after: BTreeMap<ShardId, Mark>,
    /// Most bytes of payloads and contexts, unless the first task alone has more: the tasks have to
    /// fit into the answers.
    pub bytes_max: usize,
    /// How long a taker has to say that it started, in milliseconds.
    pub handout_ttl_ms: i64,
}

impl ClaimRequest {
    /// Most tasks that it takes.
    pub fn wanted(&self) -> usize {
        let wanted = self.takers.iter().map(|taker| taker.want as usize).sum::<usize>();
        wanted.min(self.limit as usize)
    }
}

/// A task that was claimed.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    /// Index into the request's takers.
    pub taker: usize,
    pub task: FullTask,
    /// What it gets of its host, if it needs more than a slot.
    pub placed: Option<Placed>,
}

/// What a claim found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    pub leased: Vec<Leased>,
    /// The next claim's marks: the last task that was taken of each shard that gave one, and the
    /// end of those that are closed and held none.
    pub marks: BTreeMap<ShardId, Mark>,
    /// Takers whose acquire id was used before; they got nothing, see [`Store::acquired`].
    pub replays: Vec<usize>,
    /// There was more, and too large to be claimed with the rest.
    pub is_cut: bool,
    /// They need more than a slot, and were left where they are, ahead of the marks.
    pub aside: Vec<Task>,
    /// Somebody else wrote what it had read, or the same acquire.
    pub was_contended: bool,
}

struct Work<'a> {
    request: &'a ClaimRequest,
    /// For the first run, if it does not look itself.
    candidates: Mutex<Option<Candidates>>,
    shards: Vec<ShardId>,
    runs: AtomicU32,
}

impl Store {
    /// Claims PENDING tasks of a type over all its active shards, oldest shard first, in the order
    /// of their `order_time`, and leases them to the takers. A paused type gives none.
    ///
    /// Cancel safe; tasks whose answer is lost are found by [`Store::acquired`], or go back when
    /// they are not started within `handout_ttl_ms`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        if request.is_alone || self.is_off("update.compares") {
            let candidates = self.candidates(request).await?;
            return self.claim_candidates(request, candidates).await;
        }
        if self.gives_none(request).await? {
            return Ok(Claimed::default());
        }
        self.claim_shards(request, None).await
    }

    /// Claims what was found for the same request; what somebody else has changed since is left
    /// to them, and the rest is looked for anew. As [`Store::claim`] otherwise.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn claim_candidates(
        &self,
        request: &ClaimRequest,
        candidates: Candidates,
    ) -> Result<Claimed, StoreError> {
        if candidates.count() == 0 {
            let Candidates { marks, is_cut, aside, .. } = candidates;
            return Ok(Claimed { marks, is_cut, aside, ..Claimed::default() });
        }
        self.fault_point("claim.found").await;
        self.claim_shards(request, Some(candidates)).await
    }

    /// Whether there is nothing to ask the shards for.
    pub(super) async fn gives_none(&self, request: &ClaimRequest) -> Result<bool, StoreError> {
        let paused = self.get_type(&request.task_type).await?.is_some_and(|t| t.paused);
        Ok(paused || request.wanted() == 0)
    }

    async fn claim_shards(
        &self,
        request: &ClaimRequest,
        candidates: Option<Candidates>,
    ) -> Result<Claimed, StoreError> {
        let claimed = match self.claim_once(request, candidates).await {
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(&request.task_type);
                self.claim_once(request, None).await.map_err(StoreError::exhausted)?
            }
            outcome => outcome?,
        };
        self.leases().note(claimed.leased.iter().map(|leased| &leased.task.task));
        self.announce(claimed.leased.iter().map(|leased| &leased.task.task));
        Ok(claimed)
    }

    async fn claim_once(
        &self,
        request: &ClaimRequest,
        candidates: Option<Candidates>,
    ) -> Result<Claimed, StoreError> {
        let (shards, idle) = match &candidates {
            Some(Candidates { found, marks, .. }) => {
                (found.iter().map(|(shard, ..)| shard.clone()).collect(), marks.clone())
            }
            None => self.shards_to_claim(request).await?,
        };
        let mut claimed = Claimed::default();
        if !shards.is_empty() {
            let work = Work {
                request,
                candidates: Mutex::new(candidates),
                shards,
                runs: AtomicU32::new(0),
            };
            claimed =
                self.transact(&work, |store, tx, work| Box::pin(take(store, tx, work))).await?;
        }
        for (shard, mark) in idle {
            claimed.marks.entry(shard).or_insert(mark);
        }
        Ok(claimed)
    }
}

async fn take(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<Claimed, StoreError> {
    let request = work.request;
    let is_repeated = work.runs.fetch_add(1, Ordering::Relaxed) > 0;
    let mut claimed = Claimed { was_contended: is_repeated, ..Claimed::default() };
    // Only a duplicate key tells that an acquire id was used before, so only a repetition looks.
    if is_repeated {
        claimed.replays = acquires::replays(store, tx, request.takers.iter()).await?;
    }
    let mut places = Places::default();
    for (at, taker) in request.takers.iter().enumerate() {
        if !claimed.replays.contains(&at) {
            places.add(at, taker);
        }
    }
    let most = places.count().min(request.limit as usize);
    let known = work.candidates.lock().unwrap_or_else(PoisonError::into_inner).take();
    let candidates = match known {
        Some(candidates) if !is_repeated => candidates,
        _ => find(store, tx, request, (&work.shards, most), true).await?,
    };
    (claimed.marks, claimed.is_cut) = (candidates.marks, candidates.is_cut);
    claimed.aside = candidates.aside;
    let mut left = most;
    let mut ledger = Ledger::default();
    let mut last_ms = 0;
    for (shard, found, now_ms) in candidates.found {
        last_ms = last_ms.max(now_ms);
        let mut batch = Batch::of(&shard, found.iter().map(|full| full.task.clone()));
        for mut full in found.into_iter().take(left) {
            let Some(at) = places.next_of_any(full.body.payload.is_command()) else { break };
            left -= 1;
            let taker = &request.takers[at];
            let key = full.task.id.key;
            let event = taker.claims(request.handout_ttl_ms);
            let Ok(Some(task)) = batch.apply(key, &event, now_ms, &mut ledger) else { continue };
            let mut task = task.clone();
            if let Some(event) = taker.starts(&task)
                && let Ok(Some(started)) = batch.apply(key, &event, now_ms, &mut ledger)
            {
                task = started.clone();
            }
            full.task = task;
            if store.is_off("claim.gives_context") {
                full.body.context = Content::default();
            }
            claimed.leased.push(Leased { taker: at, task: full, placed: None });
        }
        batch.write(store, tx).await?;
    }
    if !claimed.leased.is_empty() {
        let got = claimed.leased.iter();
        let got = got.map(|leased| (&request.takers[leased.taker], &leased.task.task, None));
        acquires::note(store, tx, got, last_ms).await?;
        ledger.write(store, tx, last_ms).await?;
    }
    Ok(claimed)
}

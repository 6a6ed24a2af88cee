//! The claimer of one task type.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_core::{
    id::{ShardId, TypeName},
    task::{FullTask, Task},
};
use asyncflow_store::{ClaimRequest, Claimed, Mark, StoreError, Taker, wake::WakeReceiver};
use tokio::{sync::Notify, time::Instant};

use super::{Dispatch, marks::Marks, parking::Waiting, turns::Turns};
use crate::{clock, config::millis};

/// Most tasks promoted at once.
const PROMOTE_MAX: u32 = 500;
/// After a claim that brought something, when nothing tells this broker what others create; twice
/// as long after each that brought nothing, up to the slow poll.
const SHORT_POLL: Duration = Duration::from_millis(20);
/// After a claim that somebody got in the way of. One who waits for the rows of a process that
/// stands still must not wait for them again and again.
const CROWDED: Duration = Duration::from_secs(10);
/// After an error of the database.
const PAUSE: Duration = Duration::from_millis(250);

/// One task type's place in the dispatch.
pub struct Lane {
    name: TypeName,
    called: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    marks: Marks,
    /// The last claim took all that it found and was not given as much as was wanted.
    is_exhausted: bool,
    /// Something was told since the last look began.
    has_news: bool,
    /// Until then it takes others for claimers too, whatever the lock says.
    crowded_until: Option<Instant>,
    /// A short claim has yet to be followed by a look back.
    owes_look_back: bool,
    /// Claims without a task since the last that brought one.
    fruitless: u32,
    /// When the next SCHEDULED task is due, in the database's time; as far as we know.
    due_ms: Option<i64>,
    due_read: Option<Instant>,
}

impl Lane {
    pub fn new(name: TypeName) -> Self {
        Self { name, called: Notify::new(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_crowded(&self) -> bool {
        self.lock().crowded_until.is_some_and(|until| clock::now() < until)
    }

    /// Somebody has begun to wait, or has to be looked after again.
    pub fn call(&self) {
        self.called.notify_one();
    }

    /// A task can be claimed. If it stands ahead of the mark, the look that the store's wake-up
    /// began may have passed it over.
    pub fn lower(&self, task: &Task) {
        let is_passed = {
            let mut state = self.lock();
            state.has_news = true;
            state.marks.lower(task)
        };
        if is_passed {
            self.called.notify_one();
        }
    }

    /// Whether the last claim left nothing that this broker has heard of since. A task of another
    /// broker that nobody told us of yet may be there.
    pub fn has_nothing_left(&self) -> bool {
        let state = self.lock();
        state.is_exhausted && !state.marks.is_lowered()
    }

    /// Whether a look would find nothing, as far as this broker was told.
    fn is_quiet(&self) -> bool {
        self.has_nothing_left() && !self.lock().has_news
    }

    /// A task of this type is due then; the timer is set anew if that is earlier than all others.
    pub fn expect_due(&self, due_ms: i64) {
        let is_earlier = {
            let mut state = self.lock();
            let is_earlier = state.due_ms.is_none_or(|known| due_ms < known);
            if is_earlier {
                state.due_ms = Some(due_ms);
                state.has_news = true;
            }
            is_earlier
        };
        if is_earlier {
            self.called.notify_one();
        }
    }

    /// Looks when rung, when a task is due, or slowly; when called, unless it knows that there is
    /// nothing: those who wait are then left to the other lanes. Never when nobody waits.
    pub async fn run(self: Arc<Self>, dispatch: Dispatch, mut rung: WakeReceiver) {
        let shared = Arc::clone(&dispatch.shared);
        let mut turns = Turns::new(self.name.as_str());
        let mut next_look: Option<Instant> = None;
        loop {
            let next = [next_look, turns.release_at()].into_iter().flatten().min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return,
                () = self.called.notified() => {}
                () = rung.rung() => self.lock().has_news = true,
                () = timer => {}
            }
            let now = clock::now();
            turns.end(now);
            next_look = next_look.filter(|at| *at > now);
            if next_look.is_some() && self.is_quiet() {
                continue;
            }
            match shared.parking.waiting(&self.name) {
                Waiting::Nobody => turns.rest(now),
                Waiting::Reserved => {}
                Waiting::Free => {
                    let is_alone = turns.take(&shared).await && !self.is_crowded();
                    next_look = Some(match self.look(&dispatch, is_alone).await {
                        Ok(next_look) => next_look,
                        Err(error) => {
                            tracing::warn!(task_type = %self.name, %error, "claiming failed");
                            self.lock().has_news = true;
                            clock::now() + PAUSE
                        }
                    });
                }
            }
        }
    }

    /// Promotes and claims until there is nothing left to claim or nobody left who waits.
    async fn look(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        is_alone: bool,
    ) -> Result<Instant, StoreError> {
        self.lock().has_news = false;
        self.promote(dispatch).await?;
        while self.claim(dispatch, is_alone).await? {}
        self.next_look(dispatch).await
    }

    async fn promote(&self, dispatch: &Dispatch) -> Result<(), StoreError> {
        let store = &dispatch.shared.store;
        let now_ms = store.now_ms().await?;
        if self.due_ms(dispatch).await?.is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(());
        }
        let promoted = store.promote_due(&self.name, PROMOTE_MAX).await?;
        let mut state = self.lock();
        (state.due_ms, state.due_read) = (None, None);
        for task in &promoted {
            state.marks.lower(task);
        }
        Ok(())
    }

    /// When the next task is due; asked at most once per slow poll.
    async fn due_ms(&self, dispatch: &Dispatch) -> Result<Option<i64>, StoreError> {
        let now = clock::now();
        let age_max = dispatch.shared.settings.poll_interval;
        {
            let state = self.lock();
            if state.due_read.is_some_and(|read| now - read < age_max) {
                return Ok(state.due_ms);
            }
        }
        let due_ms = dispatch.shared.store.next_due_ms(&self.name).await?;
        let mut state = self.lock();
        (state.due_ms, state.due_read) = (due_ms, Some(now));
        Ok(due_ms)
    }

    /// One claim for everybody who waits. Whether there may be more to claim for them.
    async fn claim(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        is_alone: bool,
    ) -> Result<bool, StoreError> {
        let shared = &dispatch.shared;
        let limit = match shared.store.get_type(&self.name).await? {
            Some(task_type) if !task_type.paused => task_type.schedule_limit.unsigned_abs(),
            _ => return Ok(false),
        };
        let reserved = shared.parking.reserve(&self.name, u32::MAX);
        if reserved.is_empty() {
            return Ok(false);
        }
        let takers: Vec<Taker> = reserved.iter().map(|one| dispatch.taker(one)).collect();
        let wanted = takers.iter().map(|taker| taker.want as usize).sum::<usize>();
        let request = ClaimRequest {
            task_type: self.name.clone(),
            limit,
            takers,
            is_alone,
            after: self.lock().marks.begin(),
            bytes_max: shared.settings.answer_bytes_max,
            handout_ttl_ms: shared.settings.handout_ttl_ms,
        };
        let claimed = match shared.store.claim(&request).await {
            Ok(claimed) => claimed,
            Err(error) => {
                dispatch.deal(&reserved, Vec::new());
                return Err(error);
            }
        };
        let got = claimed.leased.len();
        metrics::counter!("asyncflow_claims_total").increment(1);
        metrics::counter!("asyncflow_claimed_tasks_total").increment(got as u64);
        let is_full = claimed.is_cut || got >= wanted.min(limit as usize);
        {
            let mut state = self.lock();
            state.marks.advance(claimed.marks.clone());
            state.is_exhausted = !is_full;
            if claimed.was_contended {
                state.crowded_until = Some(clock::now() + CROWDED);
            }
            state.fruitless = if got > 0 { 0 } else { state.fruitless.saturating_add(1) };
        }
        let brought = self.brought(dispatch, &request, claimed).await;
        dispatch.deal(&reserved, brought);
        self.look_back(dispatch, is_full);
        Ok(is_full)
    }

    /// Begins to look for tasks ahead of the marks that nobody told of, if it is time to. It goes
    /// on beside the claims, which would otherwise wait while it walks over what a snapshot keeps.
    fn look_back(self: &Arc<Self>, dispatch: &Dispatch, is_full: bool) {
        let marks = {
            let (mut state, now) = (self.lock(), clock::now());
            let may = state.marks.next_look_back(now).is_some_and(|at| at <= now);
            let is_time = if is_full { state.marks.must_look_back(now) } else { may };
            state.owes_look_back = !is_full && !is_time;
            if !is_time {
                return;
            }
            state.marks.begin_look_back(now)
        };
        let (lane, dispatch) = (Arc::clone(self), dispatch.clone());
        let tracker = dispatch.shared.tracker.clone();
        tracker.spawn(async move {
            let found = dispatch.shared.store.look_back(&lane.name, &marks).await;
            lane.looked_back(found);
        });
    }

    fn looked_back(&self, found: Result<BTreeMap<ShardId, Mark>, StoreError>) {
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(task_type = %self.name, %error, "looking back failed");
            BTreeMap::new()
        });
        let mut state = self.lock();
        state.marks.end_look_back(clock::now());
        for (shard, mark) in &found {
            state.marks.lower_to(shard, *mark);
        }
        if !found.is_empty() {
            state.has_news = true;
            self.called.notify_one();
        }
    }

    /// What each taker got; one whose acquire id was used before gets what it got then.
    async fn brought(
        &self,
        dispatch: &Dispatch,
        request: &ClaimRequest,
        claimed: Claimed,
    ) -> Vec<Option<Vec<FullTask>>> {
        let mut brought: Vec<Option<Vec<FullTask>>> = vec![None; request.takers.len()];
        for leased in claimed.leased {
            brought[leased.taker].get_or_insert_default().push(leased.task);
        }
        for at in claimed.replays {
            let Taker { session_id, acquire_id, .. } = &request.takers[at];
            let again = dispatch.shared.store.acquired(*session_id, acquire_id).await;
            brought[at] = Some(again.ok().flatten().unwrap_or_default());
        }
        brought
    }

    /// How long nobody looks, if nobody is told anything.
    fn poll_interval(&self, dispatch: &Dispatch) -> Duration {
        let settings = &dispatch.shared.settings;
        let is_told = dispatch.shared.store.wake().is_connected() == Some(true);
        if is_told || !settings.shared_database {
            return settings.poll_interval;
        }
        let doubled = SHORT_POLL.saturating_mul(1 << self.lock().fruitless.min(16));
        doubled.min(settings.poll_interval)
    }

    /// The slow poll with some jitter, the next look back if a short claim has yet to be followed
    /// by one, or the moment when the next task is due.
    async fn next_look(&self, dispatch: &Dispatch) -> Result<Instant, StoreError> {
        let poll = self.poll_interval(dispatch).mul_f64(rand::random_range(0.8..1.2));
        let look_back = {
            let (state, now) = (self.lock(), clock::now());
            let next = state.marks.next_look_back(now).filter(|_| state.owes_look_back);
            next.map(|at| at - now)
        };
        let poll = look_back.map_or(poll, |wait| poll.min(wait));
        let Some(due_ms) = self.due_ms(dispatch).await? else { return Ok(clock::now() + poll) };
        // One more millisecond, because the database compares with its own clock.
        let wait_ms = (due_ms - dispatch.shared.store.now_ms().await?).max(0) + 1;
        Ok(clock::now() + poll.min(millis(wait_ms)))
    }
}

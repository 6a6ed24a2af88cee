//! The claimer of one task type.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_core::{
    id::TypeName,
    task::{FullTask, Task},
};
use asyncflow_store::{
    ClaimRequest, Claimed, StoreError, Taker, lock::LockGuard, wake::WakeReceiver,
};
use tokio::{sync::Notify, time::Instant};

use super::{Dispatch, marks::Marks};
use crate::{clock, config::millis};

/// Most tasks promoted at once.
const PROMOTE_MAX: u32 = 500;
/// Without the type's lock a broker claims after a random delay of at most this.
const UNLOCKED_DELAY_MS_MAX: u64 = 20;
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
    /// Until then it takes others for claimers too, whatever the lock says.
    crowded_until: Option<Instant>,
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
        if self.lock().marks.lower(task) {
            self.called.notify_one();
        }
    }

    /// Whether the last claim left nothing that this broker has heard of since. A task of another
    /// broker that nobody told us of yet may be there.
    pub fn has_nothing_left(&self) -> bool {
        let state = self.lock();
        state.is_exhausted && !state.marks.is_lowered()
    }

    /// A task of this type is due then; the timer is set anew if that is earlier than all others.
    pub fn expect_due(&self, due_ms: i64) {
        let is_earlier = {
            let mut state = self.lock();
            let is_earlier = state.due_ms.is_none_or(|known| due_ms < known);
            if is_earlier {
                state.due_ms = Some(due_ms);
            }
            is_earlier
        };
        if is_earlier {
            self.called.notify_one();
        }
    }

    /// Looks when called, rung, when a task is due, or slowly; never when nobody waits.
    pub async fn run(self: Arc<Self>, dispatch: Dispatch, mut rung: WakeReceiver) {
        let shared = Arc::clone(&dispatch.shared);
        let mut next_look = None;
        let mut lock = None;
        loop {
            let timer = async {
                match next_look {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return,
                () = self.called.notified() => {}
                () = rung.rung() => {}
                () = timer => {}
            }
            next_look = None;
            if !shared.parking.wants(&self.name) {
                lock = None;
                continue;
            }
            let is_alone = self.thin_out(&dispatch, &mut lock).await && !self.is_crowded();
            next_look = Some(match self.look(&dispatch, is_alone).await {
                Ok(next_look) => next_look,
                Err(error) => {
                    tracing::warn!(task_type = %self.name, %error, "claiming failed");
                    clock::now() + PAUSE
                }
            });
        }
    }

    /// Promotes and claims until there is nothing left to claim or nobody left who waits.
    async fn look(&self, dispatch: &Dispatch, is_alone: bool) -> Result<Instant, StoreError> {
        self.promote(dispatch).await?;
        let mut full = false;
        while let Some(more) = self.claim(dispatch, full, is_alone).await? {
            full = more;
        }
        self.next_look(dispatch).await
    }

    /// Brokers that share a database keep out of each other's way: one holds the type's lock as
    /// long as somebody waits there. Whether this one does; being wrong costs time only.
    async fn thin_out(&self, dispatch: &Dispatch, lock: &mut Option<LockGuard>) -> bool {
        let shared = &dispatch.shared;
        if !shared.settings.shared_database || lock.as_ref().is_some_and(LockGuard::is_held) {
            return true;
        }
        let name = format!("claim:{}", self.name);
        let taken = shared.store.locks().try_acquire(&name, shared.settings.lock_ttl).await;
        *lock = taken.ok().flatten();
        if lock.is_none() {
            let delay_ms = rand::random_range(0..=UNLOCKED_DELAY_MS_MAX);
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        lock.is_some()
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

    /// One claim for everybody who waits, fully if it is asked for or overdue. `Some(full)` = claim
    /// again, fully or not.
    async fn claim(
        &self,
        dispatch: &Dispatch,
        full: bool,
        is_alone: bool,
    ) -> Result<Option<bool>, StoreError> {
        let shared = &dispatch.shared;
        let limit = match shared.store.get_type(&self.name).await? {
            Some(task_type) if !task_type.paused => task_type.schedule_limit.unsigned_abs(),
            _ => return Ok(None),
        };
        let reserved = shared.parking.reserve(&self.name, u32::MAX);
        if reserved.is_empty() {
            return Ok(None);
        }
        let takers: Vec<Taker> = reserved.iter().map(|one| dispatch.taker(one)).collect();
        let wanted = takers.iter().map(|taker| taker.want as usize).sum::<usize>();
        let (full, after) = {
            let (marks, now) = (&mut self.lock().marks, clock::now());
            let full = full || marks.must_look_fully(now);
            (full, marks.begin(full, now))
        };
        let request = ClaimRequest {
            task_type: self.name.clone(),
            limit,
            takers,
            is_alone,
            after,
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
            if full {
                state.marks.end_full_look(clock::now());
            }
            state.marks.advance(claimed.marks.clone());
            state.is_exhausted = !is_full;
            if claimed.was_contended {
                state.crowded_until = Some(clock::now() + CROWDED);
            }
            state.fruitless = if got > 0 { 0 } else { state.fruitless.saturating_add(1) };
        }
        let brought = self.brought(dispatch, &request, claimed).await;
        dispatch.deal(&reserved, brought);
        if is_full {
            return Ok(Some(false));
        }
        let may_look_fully = !full && self.lock().marks.may_look_fully(clock::now());
        Ok(may_look_fully.then_some(true))
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

    /// The slow poll with some jitter, or the moment when the next task is due.
    async fn next_look(&self, dispatch: &Dispatch) -> Result<Instant, StoreError> {
        let poll = self.poll_interval(dispatch);
        let poll = poll.mul_f64(rand::random_range(0.8..1.2));
        let Some(due_ms) = self.due_ms(dispatch).await? else { return Ok(clock::now() + poll) };
        // One more millisecond, because the database compares with its own clock.
        let wait_ms = (due_ms - dispatch.shared.store.now_ms().await?).max(0) + 1;
        Ok(clock::now() + poll.min(millis(wait_ms)))
    }
}

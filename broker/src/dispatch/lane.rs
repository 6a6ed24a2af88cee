//! The claimer of one task type.

mod claim;
mod look_back;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_core::{id::TypeName, task::Task};
use asyncflow_store::{StoreError, wake::WakeReceiver};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

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
/// Claims of a type at once: while one is written, the next one reads.
const CLAIMS_MAX: usize = 2;
/// A look that always finds more is ended after this long: tasks may have become due, and others
/// may claim by now.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// After an error of the database.
const PAUSE: Duration = Duration::from_millis(250);

/// One task type's place in the dispatch.
pub struct Lane {
    name: TypeName,
    called: Notify,
    claims: Arc<Semaphore>,
    /// One look back at a time.
    looks: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    marks: Marks,
    /// The last claim took all that it found and was not given as much as was wanted.
    is_exhausted: bool,
    /// Something was told since the last claim began.
    has_news: bool,
    /// Until then it takes others for claimers too, whatever the lock says.
    crowded_until: Option<Instant>,
    /// A claim has yet to be followed by a look back, or a look by another.
    owes_look_back: bool,
    /// Claims without a task since the last that brought one.
    fruitless: u32,
    /// When the next SCHEDULED task is due, in the database's time; as far as we know.
    due_ms: Option<i64>,
    due_read: Option<Instant>,
}

impl State {
    /// A claim found so many tasks; unless it is full, nothing is left.
    fn found(&mut self, count: usize, is_full: bool) {
        self.is_exhausted = !is_full;
        self.fruitless = if count > 0 { 0 } else { self.fruitless.saturating_add(1) };
    }
}

impl Lane {
    pub fn new(name: TypeName) -> Self {
        let claims = Arc::new(Semaphore::new(CLAIMS_MAX));
        let looks = Semaphore::new(1);
        Self { name, called: Notify::new(), claims, looks, state: Mutex::default() }
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

    /// The next claim begins at the start of each shard: there may be tasks that were passed over.
    pub fn look_from_start(&self) {
        {
            let mut state = self.lock();
            state.marks.forget();
            (state.is_exhausted, state.has_news) = (false, true);
        }
        self.called.notify_one();
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

    /// Promotes and claims until there is nothing left to claim or nobody left who waits, or for a
    /// while.
    async fn look(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        is_alone: bool,
    ) -> Result<Instant, StoreError> {
        self.promote(dispatch).await?;
        let end = clock::now() + LOOK_MAX;
        while self.claim(dispatch, is_alone).await? {
            if clock::now() >= end || (is_alone && self.is_crowded()) {
                return Ok(clock::now());
            }
        }
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
        let poll = self.poll_interval(dispatch).mul_f64(rand::random_range(0.8..1.2));
        let Some(due_ms) = self.due_ms(dispatch).await? else { return Ok(clock::now() + poll) };
        // One more millisecond, because the database compares with its own clock.
        let wait_ms = (due_ms - dispatch.shared.store.now_ms().await?).max(0) + 1;
        Ok(clock::now() + poll.min(millis(wait_ms)))
    }
}

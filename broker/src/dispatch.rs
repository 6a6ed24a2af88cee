//! From tasks that are PENDING to workers that wait.
//!
//! ```text
//!  AcquireTasks ─▶ parking ◀─ reserve ─ lane (one per task type) ─▶ store.claim ─▶ deal ─▶ answers
//!                           │            ▲ wake-up, due time, slow poll             ▲
//!                           ├─ reserve ─ offer ─▶ store.insert_for ─────────────────┤
//!                           └─ reserve ─ placer ─▶ store.claim_placed ──────────────┘
//! ```
//!
//! One lane per type claims for everybody in this broker who waits for that type: concurrent
//! acquires become one claim for the sum of what they ask. When nobody waits a lane makes no query.
//! Tasks that need more than a slot are set aside by the lanes, and placed (`placer.rs`).

mod avoid;
mod command_types;
mod lane;
mod marks;
mod offer;
mod parking;
mod placer;
mod turns;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use asyncflow_core::{
    event::{Event, Fence, Settle},
    id::{TaskId, TypeName},
    reason::FailureReason,
    state::TaskState,
    task::Task,
    task_type::TaskType,
};
use asyncflow_store::{Assigned, Store, StoreError, Taker, wake::type_topic};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock,
    config::{BrokerConfig, LockChoice, millis},
};
pub use command_types::CommandTypes;
use lane::Lane;
use parking::Parking;
pub use parking::{Types, Wish};
use placer::Placer;

/// The list of all types is read again after this long while somebody waits for every type.
const TYPES_MAX_AGE: Duration = Duration::from_secs(1);
/// Types per page of that list.
const TYPES_PAGE: u32 = 500;

/// Hands tasks to workers that wait; clones share it.
#[derive(Clone)]
pub struct Dispatch {
    shared: Arc<Shared>,
}

/// What lanes and callers share.
struct Shared {
    store: Store,
    settings: Settings,
    parking: Parking,
    placer: Placer,
    lanes: Mutex<HashMap<TypeName, Arc<Lane>>>,
    known_types: Mutex<Option<(Instant, Arc<[TypeName]>)>>,
    command_types: Arc<CommandTypes>,
    tracker: TaskTracker,
    draining: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    handout_ttl_ms: i64,
    lease_ttl_ms: i64,
    answer_bytes_max: usize,
    hold_after_ms: i64,
    preempt_after_ms: i64,
    poll_interval: Duration,
    lock_ttl: Duration,
    /// Other brokers may claim from the same database.
    shared_database: bool,
}

impl Dispatch {
    /// Lanes run on `tracker` and end when `draining` is cancelled.
    pub fn new(
        store: Store,
        config: &BrokerConfig,
        tracker: TaskTracker,
        draining: CancellationToken,
    ) -> Self {
        let settings = Settings {
            handout_ttl_ms: config.lease.handout_ttl_ms,
            lease_ttl_ms: config.lease.ttl_ms,
            // The other half is for what a task has besides.
            answer_bytes_max: config.limits.message_bytes_max / 2,
            hold_after_ms: config.placement.hold_after_ms,
            preempt_after_ms: config.placement.preempt_after_ms,
            poll_interval: millis(config.dispatch.poll_interval_ms),
            lock_ttl: millis(config.dispatch.lock_ttl_ms),
            shared_database: config.dispatch.lock != LockChoice::Memory,
        };
        let shared = Shared {
            store,
            settings,
            parking: Parking::default(),
            placer: Placer::default(),
            lanes: Mutex::default(),
            known_types: Mutex::default(),
            command_types: Arc::default(),
            tracker,
            draining,
        };
        let dispatch = Self { shared: Arc::new(shared) };
        dispatch.shared.tracker.spawn(dispatch.clone().run_placer());
        dispatch
    }

    /// Waits until `deadline` for at least one task, takes at most `wish.want`, and answers none
    /// when the time is over or the broker drains.
    ///
    /// Cancel safe: tasks that were claimed for a caller who left are given back.
    ///
    /// # Errors
    /// When the task types cannot be listed.
    pub async fn acquire(
        &self,
        wish: Wish,
        deadline: Instant,
    ) -> Result<Vec<Assigned>, StoreError> {
        let draining = &self.shared.draining;
        if draining.is_cancelled() {
            return Ok(Vec::new());
        }
        let types = wish.types.clone();
        let mut parked = Parked::new(self, wish);
        loop {
            self.call_lanes(&types).await?;
            let next_roll_call = match types.grow() {
                true => deadline.min(clock::now() + TYPES_MAX_AGE),
                false => deadline,
            };
            tokio::select! {
                biased;
                tasks = parked.answered() => return Ok(tasks),
                () = draining.cancelled() => return Ok(parked.give_up()),
                () = tokio::time::sleep_until(next_roll_call) => {
                    if clock::now() >= deadline {
                        return Ok(parked.give_up());
                    }
                }
            }
        }
    }

    /// Tasks as this broker's own writes left them: those that can be claimed are not missed,
    /// however far their lane has come already, and those that are due later set its timer. Whoever
    /// waits is called by the wake-up that the store sends to all brokers.
    pub fn note<'a>(&self, tasks: impl Iterator<Item = &'a Task>) {
        for task in tasks {
            match task.state {
                _ if self.shared.placer.note(task) => {}
                TaskState::Pending => self.lane(task.id.task_type()).lower(task),
                TaskState::Scheduled => {
                    self.lane(task.id.task_type()).expect_due(task.order_time_ms);
                }
                _ => {}
            }
        }
    }

    /// The types that have commands, as this broker learns of them.
    pub fn command_types(&self) -> Arc<CommandTypes> {
        Arc::clone(&self.shared.command_types)
    }

    /// A type was read. If it has commands, those who wait for commands look at it.
    pub fn see_type(&self, task_type: &TaskType) {
        self.shared.command_types.see(task_type);
    }

    /// Somebody who is reserved for a type, or for certain tasks, as the store knows it.
    fn taker(&self, reserved: &parking::Reserved, of_type: Option<&TypeName>) -> Taker {
        let wish = &reserved.wish;
        Taker {
            worker_id: wish.worker_id.clone(),
            session_id: wish.session_id,
            acquire_id: wish.acquire_id.clone(),
            want: wish.want,
            lease_ttl_ms: wish.starts.then_some(self.shared.settings.lease_ttl_ms),
            takes_only_commands: of_type.is_some_and(|name| !wish.types.name(name)),
        }
    }

    /// What an acquire got that has come before. While that cannot be read its caller waits on:
    /// nothing at all would be the loss of tasks that count as started.
    async fn acquired_before(&self, session_id: i64, acquire_id: &str) -> Option<Vec<Assigned>> {
        match self.shared.store.acquired(session_id, acquire_id).await {
            Ok(tasks) => Some(tasks.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(%error, "what an acquire got before could not be read");
                None
            }
        }
    }

    /// Ends a claim or an offer: `brought` is what each of `reserved` gets.
    fn deal(&self, reserved: &[parking::Reserved], brought: Vec<Option<Vec<Assigned>>>) {
        let dealt = self.shared.parking.deal(reserved, brought);
        dealt.look_again.iter().for_each(|name| self.lane(name).call());
        if dealt.place_again {
            self.shared.placer.call();
        }
        self.give_back(dealt.orphans);
    }

    /// Makes sure that the types that are waited for have lanes, and that they look once.
    async fn call_lanes(&self, types: &Types) -> Result<(), StoreError> {
        match types {
            Types::These { names, commands: None } => {
                names.iter().for_each(|name| self.lane(name).call());
            }
            Types::Every | Types::These { .. } => {
                let every_type = self.every_type().await?;
                let meant = every_type.iter().filter(|name| types.contain(name));
                meant.for_each(|name| self.lane(name).call());
            }
        }
        Ok(())
    }

    fn lane(&self, name: &TypeName) -> Arc<Lane> {
        let mut lanes = self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(name) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::new(name.clone()));
        lanes.insert(name.clone(), Arc::clone(&lane));
        let rung = self.shared.store.wake().subscribe(&type_topic(name.as_str()));
        let running = Arc::clone(&lane).run(self.clone(), rung);
        self.shared.tracker.spawn(running);
        // The wake-up of the task that made this lane came before anybody here could hear it.
        lane.call();
        lane
    }

    async fn every_type(&self) -> Result<Arc<[TypeName]>, StoreError> {
        let now = clock::now();
        {
            let known =
                self.shared.known_types.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, names)) = known.filter(|(read, _)| now - *read < TYPES_MAX_AGE) {
                return Ok(names);
            }
        }
        let mut names: Vec<TypeName> = Vec::new();
        loop {
            let after = names.last().map(|name| name.as_str().to_owned());
            let page = self.shared.store.list_types(after.as_deref(), TYPES_PAGE).await?;
            let is_last = page.len() < TYPES_PAGE as usize;
            page.iter().for_each(|task_type| self.see_type(task_type));
            names.extend(page.into_iter().map(|task_type| task_type.name));
            if is_last {
                break;
            }
        }
        let names: Arc<[TypeName]> = names.into();
        *self.shared.known_types.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now, Arc::clone(&names)));
        Ok(names)
    }

    /// Gives back tasks whose acquirer is gone, besides the hand-out's own end.
    fn give_back(&self, orphans: Vec<Assigned>) {
        if orphans.is_empty() {
            return;
        }
        let dispatch = self.clone();
        self.shared.tracker.spawn(async move {
            let message = "its acquirer was gone when it was handed out";
            let events = orphans.into_iter().map(|one| release(one.full.task, message, 0));
            let store = &dispatch.shared.store;
            let answers = store.apply(events.collect()).await;
            dispatch.note(answers.iter().flatten().map(|applied| &applied.task));
        });
    }
}

/// A task that was claimed goes back.
fn release(task: Task, message: &str, delay_ms: i64) -> (TaskId, Event) {
    let fence = Fence { attempt: task.attempt, session_id: task.holder.session_id };
    let settle = Settle::release(FailureReason::NotStarted, message, delay_ms);
    let digest = asyncflow_core::digest::settle(&settle, None);
    (task.id, Event::Settle { fence, settle, digest, exit_code: None, usage: None })
}

/// Somebody who waits, also when the call that waited is dropped.
struct Parked {
    dispatch: Dispatch,
    ticket: parking::Ticket,
}

impl Parked {
    fn new(dispatch: &Dispatch, wish: Wish) -> Self {
        let shared = &dispatch.shared;
        // Heard of before it can be answered, or the answer would be forgotten for the offer.
        if wish.offers {
            shared.placer.heard(&wish);
        }
        // Or one who is always answered by a lane at once would never get what needs more.
        let awaits_placer = wish.offers && shared.placer.has_aside(&wish.types);
        let ticket = shared.parking.park(wish, awaits_placer);
        if awaits_placer {
            shared.placer.wake();
        } else {
            shared.placer.call();
        }
        Self { dispatch: dispatch.clone(), ticket }
    }

    async fn answered(&mut self) -> Vec<Assigned> {
        // The sender lives in the lot until it was used or we left.
        (&mut self.ticket.tasks).await.unwrap_or_default()
    }

    /// Ends the waiting; what arrived in the last moment is still taken.
    fn give_up(mut self) -> Vec<Assigned> {
        self.dispatch.shared.parking.leave(self.ticket.number);
        self.ticket.tasks.try_recv().unwrap_or_default()
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.dispatch.shared.parking.leave(self.ticket.number);
        self.dispatch.give_back(self.ticket.tasks.try_recv().unwrap_or_default());
    }
}

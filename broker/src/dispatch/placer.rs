//! Places the tasks that need more than a slot.
//!
//! ```text
//!  lane: reads a task that needs more ─▶ aside ─┐
//!  AcquireTasks with an offer ─▶ hosts ─────────┼─▶ core::placement ─▶ store.claim_placed ─▶ deal
//!  tasks that were placed ─▶ users ─────────────┘
//! ```
//!
//! Nothing here is the truth: another broker may place the same tasks, and the conditional claim
//! decides. What is remembered of tasks and hosts only makes the plan good.

mod aside;
mod facts;
mod hosts;
mod promises;
mod reports;
mod users;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use asyncflow_core::{
    id::{TaskId, TypeName},
    placement::{self, Plan, Waiting},
    state::TaskState,
    task::Task,
};
use asyncflow_store::{Assigned, Parts, PlaceRequest, PlacedTask, SetAside, StoreError, Taker};
use tokio::sync::Notify;

use super::{Dispatch, Types, Wish, parking::Reserved};
use crate::clock;
use aside::Aside;
use facts::Facts;
use hosts::Hosts;
use promises::Promises;
use users::Users;

/// After a plan nothing is planned for so many times as long as it took, up to a second.
const PAUSE_SHARE: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// After an error of the database.
const PAUSE_ERROR: Duration = Duration::from_millis(250);
/// So often, at most, it is looked whether what is remembered of tasks is still so.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// So often, at most, the reports of hosts are looked at.
const REPORTS_INTERVAL: Duration = Duration::from_secs(3);
/// Tasks that are looked up at once.
const SWEEP_PAGE: usize = 500;

/// What is remembered for the next plan.
#[derive(Default)]
pub struct Placer {
    called: Notify,
    /// Something is remembered of tasks: most brokers have none that need more than a slot.
    is_busy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    aside: Aside,
    hosts: Hosts,
    users: Users,
    promises: Promises,
}

/// A plan, and what it was made from.
struct Planned {
    waiting: Vec<Waiting>,
    revisions: Vec<i64>,
    /// Those who wait, in the order of the first hosts.
    waiters: Vec<Reserved>,
    plan: Plan,
}

impl Placer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans again, if there is anything to be placed.
    pub fn call(&self) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.called.notify_one();
        }
    }

    /// Looks again, also if nothing is to be placed any more.
    pub fn wake(&self) {
        self.called.notify_one();
    }

    /// Somebody who begins to wait offers something.
    pub fn heard(&self, wish: &Wish) {
        self.lock().hosts.heard(wish, clock::now());
    }

    /// Whether something waits to be placed that somebody who accepts these types may get.
    pub fn has_aside(&self, types: &Types) -> bool {
        self.is_busy.load(Ordering::Relaxed)
            && self.lock().aside.types().iter().any(|name| types.contain(name))
    }

    /// Tasks that a claim has passed over.
    pub fn set_aside<'a>(&self, tasks: impl IntoIterator<Item = &'a Task>) {
        let mut tasks = tasks.into_iter().peekable();
        if tasks.peek().is_none() {
            return;
        }
        let is_news = {
            let mut state = self.lock();
            let mut is_news = false;
            for task in tasks {
                is_news |= state.aside.add(task);
            }
            if is_news {
                self.is_busy.store(true, Ordering::Relaxed);
            }
            is_news
        };
        if is_news {
            self.called.notify_one();
        }
    }

    /// A task as it is now. Whether it is the placer's, and no lane has to look for it.
    pub fn note(&self, task: &Task) -> bool {
        if task.state == TaskState::Pending && task.is_needy() {
            self.set_aside([task]);
            self.lock().users.note(task, clock::now());
            return true;
        }
        if self.is_busy.load(Ordering::Relaxed) {
            let mut state = self.lock();
            state.aside.remove_at(&task.id, task.revision);
            state.users.note(task, clock::now());
            if task.state != TaskState::Pending {
                state.promises.end(&task.id);
            }
        }
        false
    }

    /// Nothing is remembered any more, until something is set aside.
    fn rest(&self) {
        let state = self.lock();
        if state.aside.is_empty() && state.users.has_nothing() {
            self.is_busy.store(false, Ordering::Relaxed);
        }
    }

    /// What a look back of a lane need not find.
    pub fn known(&self, name: &TypeName) -> SetAside {
        if !self.is_busy.load(Ordering::Relaxed) {
            return SetAside::default();
        }
        self.lock().aside.known(name)
    }
}

impl Dispatch {
    /// A worker gets no more tasks: nothing is kept for others on its host.
    pub fn forget_host(&self, worker_id: &str) {
        self.shared.placer.lock().hosts.forget(worker_id);
    }

    /// Plans when it is called, and now and then while tasks wait to be placed.
    pub(super) async fn run_placer(self) {
        let shared = &self.shared;
        let (mut swept, mut looked) = (clock::now(), clock::now());
        loop {
            let is_busy = shared.placer.is_busy.load(Ordering::Relaxed);
            let poll = shared.settings.poll_interval;
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return,
                () = shared.placer.called.notified() => {}
                () = tokio::time::sleep(poll), if is_busy => {}
            }
            let begun = clock::now();
            if begun - swept >= SWEEP_INTERVAL {
                swept = begun;
                if let Err(error) = self.sweep().await {
                    tracing::warn!(%error, "looking after tasks that wait for a place failed");
                }
            }
            let pause = match self.place().await {
                Ok(()) => ((clock::now() - begun) * PAUSE_SHARE).min(PAUSE_MAX),
                Err(error) => {
                    tracing::warn!(%error, "placing tasks failed");
                    shared.placer.call();
                    PAUSE_ERROR
                }
            };
            // After that: nobody is asked to leave a GPU when another has just become free.
            if begun - looked >= REPORTS_INTERVAL && !shared.placer.lock().aside.is_empty() {
                looked = begun;
                if let Err(error) = self.look_at_reports().await {
                    tracing::warn!(%error, "looking at the reports of hosts failed");
                }
            }
            for name in shared.placer.lock().aside.take_shrunk() {
                self.lane(&name).look_from_start();
            }
            shared.placer.rest();
            if shared.draining.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Looks for tasks for those who wait, and leaves them to the lanes then, whatever came of it.
    async fn place(&self) -> Result<(), StoreError> {
        let parking = &self.shared.parking;
        let waiters = parking.free();
        let numbers: Vec<u64> = waiters.iter().map(|one| one.number).collect();
        let placed = self.place_for(waiters).await;
        parking.end_look(&numbers).iter().for_each(|name| self.lane(name).call());
        placed
    }

    /// Makes a plan and carries it out.
    async fn place_for(&self, waiters: Vec<Reserved>) -> Result<(), StoreError> {
        if self.shared.placer.lock().aside.is_empty() {
            metrics::gauge!("asyncflow_tasks_unplaced").set(0.0);
            return Ok(());
        }
        if waiters.is_empty() {
            return Ok(());
        }
        let planned = self.plan(waiters).await?;
        metrics::gauge!("asyncflow_tasks_unplaced")
            .set((planned.waiting.len() - planned.plan.placements.len()) as f64);
        self.carry_out(planned).await
    }

    async fn plan(&self, waiters: Vec<Reserved>) -> Result<Planned, StoreError> {
        let placer = &self.shared.placer;
        let mut types = self.open_types().await?;
        types.retain(|name| waiters.iter().any(|one| one.wish.types.contain(name)));
        self.read_promises(&waiters).await?;
        let now_ms = self.shared.store.now_ms().await?;
        let (facts, waiters) = {
            let mut state = placer.lock();
            let State { hosts, users, .. } = &mut *state;
            let (hosts, waiters) = hosts.with(waiters, users, &types, clock::now());
            let hold_after_ms = self.shared.settings.hold_after_ms;
            (Facts::of(&mut state, &types, hosts, now_ms, hold_after_ms), waiters)
        };
        facts::apart(move || {
            let plan = placement::place(&facts.scene());
            let Facts { waiting, revisions, .. } = facts;
            Planned { waiting, revisions, waiters, plan }
        })
        .await
    }

    /// Claims what was placed, for those who still wait.
    async fn carry_out(&self, planned: Planned) -> Result<(), StoreError> {
        let Planned { waiting, revisions, waiters, plan } = planned;
        let mut wanted: BTreeMap<usize, Vec<PlacedTask>> = BTreeMap::new();
        for one in &plan.placements {
            wanted.entry(one.host).or_default().push(PlacedTask {
                id: waiting[one.task].id.clone(),
                revision: revisions[one.task],
                taker: 0,
                placed: one.placed.clone(),
            });
        }
        let numbers: Vec<u64> =
            wanted.keys().filter_map(|host| Some(waiters.get(*host)?.number)).collect();
        let reserved = self.shared.parking.reserve_these(&numbers);
        let mut tasks = Vec::new();
        let mut hosts = Vec::new();
        for (taker, one) in reserved.iter().enumerate() {
            let place = waiters.iter().position(|waiter| waiter.number == one.number);
            let Some(host) = place else { continue };
            hosts.push(&plan.hosts[host]);
            let of_host = wanted.remove(&host).unwrap_or_default();
            tasks.extend(of_host.into_iter().map(|task| PlacedTask { taker, ..task }));
        }
        let request = PlaceRequest {
            takers: reserved.iter().map(|one| self.taker(one, None)).collect(),
            tasks,
            bytes_max: self.shared.settings.answer_bytes_max,
            handout_ttl_ms: self.shared.settings.handout_ttl_ms,
        };
        let claimed = self.shared.store.claim_placed(&request).await;
        let claimed = claimed.inspect_err(|_| self.deal(&reserved, Vec::new()))?;
        let mut brought: Vec<Option<Vec<Assigned>>> = vec![None; reserved.len()];
        {
            let (mut state, now) = (self.shared.placer.lock(), clock::now());
            for PlacedTask { id, revision, .. } in &request.tasks {
                if !claimed.left.contains(id) {
                    state.aside.remove_at(id, *revision);
                }
            }
            for leased in claimed.leased {
                let host = hosts[leased.taker];
                let placed = leased.placed.clone().unwrap_or_default();
                let gpu_millis = placement::gpu_millis(host, &placed);
                state.users.begin(&leased.task.task, &host.worker_id, gpu_millis, now);
                state.promises.end(&leased.task.task.id);
                let got = Assigned { full: leased.task, placed: leased.placed };
                brought[leased.taker].get_or_insert_default().push(got);
            }
            for (at, host) in hosts.iter().enumerate() {
                if brought[at].is_some() {
                    state.hosts.took(host);
                }
            }
        }
        let count = brought.iter().flatten().map(Vec::len).sum::<usize>();
        metrics::counter!("asyncflow_placed_tasks_total").increment(count as u64);
        for at in claimed.replays {
            let Taker { session_id, acquire_id, .. } = &request.takers[at];
            brought[at] = self.acquired_before(*session_id, acquire_id).await;
        }
        self.deal(&reserved, brought);
        Ok(())
    }

    /// Forgets tasks that others have changed.
    async fn sweep(&self) -> Result<(), StoreError> {
        let (aside, placed): (Vec<(TaskId, i64)>, Vec<TaskId>) = {
            let state = self.shared.placer.lock();
            let types = state.aside.types();
            let entries = types.iter().flat_map(|name| state.aside.of_type(name));
            let known = entries.map(|entry| (entry.waiting.id.clone(), entry.revision));
            (known.collect(), state.users.tasks())
        };
        for page in aside.chunks(SWEEP_PAGE) {
            let ids: Vec<TaskId> = page.iter().map(|(id, _)| id.clone()).collect();
            let found = self.shared.store.get_many(&ids, Parts::NONE).await?;
            let mut state = self.shared.placer.lock();
            for ((id, revision), full) in page.iter().zip(found) {
                let task = full.map(|full| full.task);
                if task.as_ref().is_none_or(|task| task.revision != *revision) {
                    state.aside.remove_at(id, *revision);
                    if let Some(task) = &task {
                        state.aside.add(task);
                    }
                }
            }
        }
        for page in placed.chunks(SWEEP_PAGE) {
            let found = self.shared.store.get_many(page, Parts::NONE).await?;
            let (mut state, now) = (self.shared.placer.lock(), clock::now());
            for (id, full) in page.iter().zip(found) {
                match full {
                    Some(full) => state.users.note(&full.task, now),
                    None => state.users.end(id, now),
                }
            }
        }
        Ok(())
    }
}

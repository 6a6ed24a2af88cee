//! The life of a worker process: register, take and run tasks, drain, leave.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use asyncflow_proto::time::duration_ms;
use futures::FutureExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::{Instrument, Span};

use super::{
    WorkerOptions, acquire,
    attempt::AttemptHandle,
    context_version::ContextVersion,
    executor::{Executor, Handlers},
    handler::panic_text,
    heartbeat,
    held::Held,
    host::{self, HostSide, Standing},
    journal::{ResultJournal, SettleCall},
    link::Link,
    logs::{self, Piece},
    outcome::Outcome,
    progress::ProgressBoard,
    session,
    settle::{Settled, Settler},
    stop::{StopReason, StopSignal},
};
use crate::{
    Error,
    client::is_terminal,
    trace,
    v1::{DeregisterWorkerRequest, FailureReason, Lease, LeasedTask},
};

/// What is left of an attempt's log when it has ended may take this long to be sent.
const LOG_TAIL_MAX: Duration = Duration::from_secs(5);
/// After an abort the last words are tried this long; the journal keeps them.
const LAST_WORDS_MAX: Duration = Duration::from_secs(3);
/// After an abort attempts have this long to kill what they run.
const ABORT_MAX: Duration = Duration::from_secs(20);

pub(super) struct Runtime {
    pub options: WorkerOptions,
    pub link: Arc<Link>,
    pub held: Held,
    pub attempts: TaskTracker,
    handlers: Handlers,
    journal: Arc<dyn ResultJournal>,
    journal_ok: watch::Sender<bool>,
    progress: Arc<ProgressBoard>,
    settler: Settler,
    pub abort: CancellationToken,
    pub host: Option<Arc<dyn HostSide>>,
    /// What was ordered of the whole worker.
    pub standing: watch::Sender<Standing>,
    /// Orders have changed.
    pub report_now: Notify,
    /// Ends the worker, and nothing that it runs.
    pub detach: CancellationToken,
}

impl Runtime {
    pub fn new(
        options: WorkerOptions,
        handlers: Handlers,
        journal: Arc<dyn ResultJournal>,
        host: Option<Arc<dyn HostSide>>,
        detach: CancellationToken,
    ) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            link: Arc::new(Link::open(&options)?),
            options,
            held: Held::default(),
            attempts: TaskTracker::new(),
            handlers,
            journal,
            journal_ok: watch::Sender::new(true),
            progress: Arc::default(),
            settler: Settler::new(),
            abort: CancellationToken::new(),
            host,
            standing: watch::Sender::default(),
            report_now: Notify::new(),
            detach,
        }))
    }

    /// Runs until `drain` is cancelled, or ordered, and what runs has ended; or `abort` is
    /// cancelled; or to be detached is ordered.
    pub async fn run(
        self: Arc<Self>,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), Error> {
        self.redeliver().await;
        self.adopt();
        let incarnation = format!("{}-{}", boot_id(), uuid::Uuid::new_v4().simple());
        let session = session::keep(&self.link, &self.held, &self.options, &incarnation);
        let background = async {
            tokio::join!(
                heartbeat::beat(&self.link, &self.held, &drain),
                heartbeat::follow_commands(&self.link, &self.held, &self.report_now),
                host::report(&self),
                self.progress.run(&self.link, &self.held, self.options.progress_interval),
                self.settler.run(&self.link),
            )
        };
        let foreground = async {
            tokio::select! {
                () = acquire::run(&self) => {}
                () = self.drained_by_order() => tracing::info!("drained by order"),
                () = self.detach.cancelled() => return,
                () = drain.cancelled() => {}
                () = abort.cancelled() => {}
            }
            self.wind_down(&abort).await;
        };
        tokio::select! {
            refused = session => {
                let Err(error) = refused;
                if matches!(error, Error::Config(_)) {
                    self.give_up().await;
                } else {
                    // Whoever corrects what is wrong and starts it again finds them running.
                    self.detach.cancel();
                }
                return Err(error);
            }
            _ = background => {}
            () = foreground => {}
        }
        if self.detach.is_cancelled() {
            // They let go at once: what they have open is the next process's.
            self.attempts.close();
            let _ = tokio::time::timeout(LAST_WORDS_MAX, self.attempts.wait()).await;
            return Ok(());
        }
        // After the last heartbeat: one that came later would find the session unknown and make
        // the worker register again.
        self.leave().await;
        Ok(())
    }

    /// Delivers what a former process left in the journal.
    async fn redeliver(self: &Arc<Self>) {
        for call in self.journal.pending().await {
            let Some(lease) = call.lease().cloned() else { continue };
            if self.held.add(&lease, false).is_none() {
                continue;
            }
            // The journal does not know the task's trace.
            let span = attempt_span(&lease, "");
            let runtime = self.clone();
            let delivering = async move {
                tracing::info!("delivering again");
                runtime.deliver_or_keep(&lease, &trace::traceparent("").into(), &call).await;
                runtime.forget(&lease);
            };
            let detach = self.detach.clone();
            self.attempts.spawn(async move {
                detach.run_until_cancelled(delivering.instrument(span)).await;
            });
        }
    }

    /// Goes on with what a former process left running. The outcome of one that the journal has is
    /// on its way already.
    fn adopt(self: &Arc<Self>) {
        let mut found = Vec::new();
        for executor in self.handlers.all() {
            found.extend(executor.adoptable().into_iter().map(|leased| (executor, leased)));
        }
        for (executor, leased) in found {
            let Some(lease) = leased.lease.clone() else { continue };
            match self.held.add(&lease, true) {
                Some(stop) => {
                    if let Some(host) = &self.host {
                        host.taken(&leased);
                    }
                    self.spawn_attempt(lease, leased, stop, true);
                }
                None => executor.recorded(&lease),
            }
        }
    }

    /// Runs one attempt from its start to the broker's confirmation, or until the worker detaches.
    pub fn spawn_attempt(
        self: &Arc<Self>,
        lease: Lease,
        leased: LeasedTask,
        stop: StopSignal,
        is_adopted: bool,
    ) {
        let runtime = self.clone();
        self.attempts.spawn(async move {
            let running = runtime.run_attempt(lease, leased, stop, is_adopted);
            runtime.detach.run_until_cancelled(running).await;
        });
    }

    /// Resolves when the worker is to drain and has nothing left.
    async fn drained_by_order(&self) {
        let mut watching = self.standing.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        while watching.wait_for(|standing| standing.draining).await.is_ok() {
            tokio::select! {
                () = self.held.empty() => return,
                _ = watching.wait_for(|standing| !standing.draining) => {}
            }
        }
    }

    /// Waits until the worker may take tasks, or may not.
    pub async fn until_it_takes(&self, takes: bool) {
        let mut watching = self.standing.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = watching.wait_for(|standing| standing.takes_tasks() == takes).await;
    }

    /// Nothing is to be done about the lease any more.
    pub fn forget(&self, lease: &Lease) {
        if let Some(host) = &self.host {
            host.ended(lease);
        }
        self.held.remove(lease);
    }

    async fn wind_down(&self, abort: &CancellationToken) {
        self.attempts.close();
        tokio::select! {
            () = self.attempts.wait() => {}
            () = abort.cancelled() => {}
            () = tokio::time::sleep(self.options.drain_timeout) => {
                tracing::info!(running = self.held.slots_taken(), "asking tasks to end");
                self.held.raise_all(StopReason::Drained);
                tokio::select! {
                    () = self.attempts.wait() => {}
                    () = abort.cancelled() => {}
                }
            }
        }
        if abort.is_cancelled() {
            self.held.raise_all(StopReason::Aborted);
            self.abort.cancel();
            let _ = tokio::time::timeout(ABORT_MAX, self.attempts.wait()).await;
        }
    }

    async fn leave(&self) {
        if !self.held.leases().is_empty() {
            // Deregistering would put these tasks back into the queue, and their outcomes,
            // which the journal keeps for the next process, would come too late.
            tracing::warn!("leaving without deregistering, outcomes are still to be delivered");
            return;
        }
        let leaving = self.link.calls().call(
            LAST_WORDS_MAX,
            |session_id| DeregisterWorkerRequest { session_id },
            |mut broker, request| async move { broker.deregister_worker(request).await },
        );
        match tokio::time::timeout(LAST_WORDS_MAX, leaving).await {
            Ok(Ok(_)) => tracing::info!("deregistered"),
            Ok(Err(error)) => tracing::warn!(%error, "could not deregister"),
            Err(_) => tracing::warn!("could not deregister: no session"),
        }
    }

    /// This worker may not work: what it runs is stopped, and what is to be delivered is kept.
    async fn give_up(&self) {
        self.attempts.close();
        self.held.raise_all(StopReason::LeaseLost);
        self.abort.cancel();
        // What does not end in time is cleared away at the next start.
        let _ = tokio::time::timeout(ABORT_MAX, self.attempts.wait()).await;
    }

    /// Waits while outcomes cannot be made durable: taking more tasks would lose more results.
    pub async fn journal_works(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.journal_ok.subscribe().wait_for(|works| *works).await;
    }

    /// Waits while what was taken could not be started: it would only come back.
    pub async fn executors_ready(&self) {
        for executor in self.handlers.all() {
            executor.ready().await;
        }
    }

    async fn run_attempt(
        &self,
        lease: Lease,
        leased: LeasedTask,
        stop: StopSignal,
        is_adopted: bool,
    ) {
        let trace_id = leased.task.as_ref().map_or("", |task| &task.trace_id);
        let traceparent = trace::traceparent(trace_id).into();
        let (log_sender, log_queue) = logs::queue();
        let handed_out = leased.task.as_ref().map_or(0, |task| task.context_version);
        let attempt = AttemptHandle {
            leased: Arc::new(leased),
            traceparent,
            stop,
            link: self.link.clone(),
            advance: Arc::default(),
            // A former process may have saved since.
            context_version: Arc::new(ContextVersion::new(handed_out, !is_adopted)),
            progress: self.progress.clone(),
            logs: log_sender,
            usage: Arc::default(),
        };
        let span = attempt_span(&lease, &attempt.task().trace_id);
        self.follow_attempt(lease, attempt, log_queue, is_adopted).instrument(span).await;
    }

    async fn follow_attempt(
        &self,
        lease: Lease,
        attempt: AttemptHandle,
        log_queue: mpsc::Receiver<Piece>,
        is_adopted: bool,
    ) {
        tracing::debug!(is_adopted, "attempt started");
        if is_adopted {
            // What the former process has saved is not known any more.
            attempt.advance.made_children();
        }
        let (stop, traceparent) = (attempt.stop.clone(), attempt.traceparent.clone());
        let executor = self.handlers.route(attempt.task(), &self.options);
        let keeper = executor.as_ref().ok().and_then(|one| one.log_keeper(&lease));
        let logs_end = CancellationToken::new();
        let (link, trace, end) = (self.link.clone(), traceparent.clone(), logs_end.clone());
        let shipping = logs::ship(link, lease.clone(), trace, log_queue, end, keeper);
        let shipper = AbortOnDropHandle::new(tokio::spawn(shipping.in_current_span()));
        let outcome = match (stop.reason(), &executor) {
            (_, Ok(executor)) if is_adopted => {
                execute(executor.adopt(attempt.clone()), &attempt, executor.keeps_time()).await
            }
            (Some(reason), _) => Outcome::stopped(reason),
            (None, Ok(executor)) => {
                execute(executor.execute(attempt.clone()), &attempt, executor.keeps_time()).await
            }
            (None, Err(refused)) => refused.clone(),
        };
        logs_end.cancel();
        if !self.abort.is_cancelled() {
            let _ = tokio::time::timeout(LOG_TAIL_MAX, shipper).await;
            self.progress.flush(self.link.in_trace(&traceparent), &self.held, &lease).await;
        }
        let lost = stop.reason() == Some(StopReason::LeaseLost);
        if lost {
            tracing::warn!("another attempt is in force, stopped and forgotten");
        }
        let outcome = match lost {
            true => Outcome::Abandoned,
            false => {
                let outcome = outcome.with_note(stop.reason(), stop.note().as_deref());
                match stop.reason() {
                    None => attempt.advance.demanded_of(outcome.within_limits(), attempt.task()),
                    // Whoever is told to stop had no time to come further.
                    Some(_) => outcome.within_limits(),
                }
            }
        };
        metrics::counter!("asyncflow_worker_attempts_total", "outcome" => outcome.label())
            .increment(1);
        let executor = executor.ok();
        let settled = self.settle(&lease, &attempt, &outcome, executor.as_deref()).await;
        tracing::debug!(outcome = outcome.label(), "attempt ended");
        if let (Some(Settled::Confirmed(state)), Some(executor)) = (settled, &executor)
            && is_terminal(state)
        {
            executor.finished(&attempt, &outcome, state).await;
        }
        self.forget(&lease);
    }

    /// Journal first, then the broker.
    async fn settle(
        &self,
        lease: &Lease,
        attempt: &AttemptHandle,
        outcome: &Outcome,
        executor: Option<&dyn Executor>,
    ) -> Option<Settled> {
        let forget = || executor.into_iter().for_each(|executor| executor.recorded(lease));
        let Some(call) = SettleCall::of(lease, outcome, attempt.usage()) else {
            forget();
            return None;
        };
        let recorded = self.journal.record(&call).await;
        match &recorded {
            Ok(()) => forget(),
            Err(error) => {
                tracing::error!(%error, "the journal cannot be written");
                self.set_journal_ok(false);
            }
        }
        let settled = self.deliver_or_keep(lease, &attempt.traceparent, &call).await;
        if settled.is_some() {
            forget();
        }
        // Once it is delivered nothing is unprotected; the next record tries the disk again.
        self.set_journal_ok(recorded.is_ok() || settled.is_some());
        settled
    }

    fn set_journal_ok(&self, works: bool) {
        metrics::gauge!("asyncflow_worker_journal_ok").set(if works { 1.0 } else { 0.0 });
        self.journal_ok.send_replace(works);
    }

    /// `None` when the worker ends before the broker has answered.
    async fn deliver_or_keep(
        &self,
        lease: &Lease,
        traceparent: &Arc<str>,
        call: &SettleCall,
    ) -> Option<Settled> {
        let too_late = async {
            self.abort.cancelled().await;
            tokio::time::sleep(LAST_WORDS_MAX).await;
        };
        let delivering = self.settler.deliver(traceparent, &*self.journal, lease, call);
        tokio::select! {
            settled = delivering => Some(settled),
            () = too_late => None,
        }
    }
}

/// Works under the task's `max_running_time`, unless the work `keeps_time` itself; a panic becomes
/// a failure.
async fn execute(
    work: impl Future<Output = Outcome>,
    attempt: &AttemptHandle,
    keeps_time: bool,
) -> Outcome {
    let stop = attempt.stop_signal();
    let limit = attempt.task().max_running_time.as_ref().and_then(duration_ms);
    let limit = limit.and_then(|ms| u64::try_from(ms).ok()).filter(|_| !keeps_time);
    let limit = limit.map(Duration::from_millis);
    let overtime = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
        stop.raise(StopReason::TimedOut);
        std::future::pending::<std::convert::Infallible>().await
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        ended = work => ended.unwrap_or_else(|panic| {
            let message = format!("the executor panicked: {}", panic_text(&*panic));
            Outcome::failed(FailureReason::Error, message)
        }),
        never = overtime => match never {},
    }
}

/// What is logged about an attempt carries these; errors do so under every filter.
fn attempt_span(lease: &Lease, trace_id: &str) -> Span {
    let (task_id, attempt) = (&lease.task_id, lease.attempt);
    tracing::error_span!("attempt", task_id, attempt, trace_id)
}

/// Tells processes of different boots apart; empty where the system has none.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

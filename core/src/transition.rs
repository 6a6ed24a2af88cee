//! The one state machine: `(task, event, now) → task after it`, or why not.
//!
//! ```text
//!            create                                    Retry (new run)
//!              │                                ┌───────────────────────────┐
//!   ┌──────────┼───────────┐                    ▼                           │
//!   ▼          ▼           ▼      Claim                Settle: complete     │
//! BLOCKED ─▶ PENDING ◀─ SCHEDULED   ──▶  RUNNING ──────────────────▶ SUCCEEDED
//!   │          │  ▲        ▲               │ │ │   fail, budget spent       │
//!   │          │  │        └── fail ───────┘ │ └────────────────────▶ FAILED┤
//!   │          │  └── release, lease lost ───┤                              │
//!   │          │                             │ Cancel                       │
//!   │          │                             ▼                              │
//!   │          │                        CANCELLING ─ any end, lease lost ─▶ CANCELLED
//!   └─ Cancel ─┴──────────────────────────────────────────────────────────▶  ┘
//!          PAUSED ⇄ PENDING, SCHEDULED, BLOCKED       (Complete in CANCELLING → SUCCEEDED)
//! ```
//!
//! It is pure: the store locks the row, asks here, and writes what comes back on the condition that
//! the row's revision is still the one that was read. Time is an argument, and it is the database's.

use crate::{
    event::{Event, Fence, RetryHint, Settle, TaskPatch},
    order::{PRIORITY_POINT_MS, pending_order_ms},
    reason::FailureReason,
    state::TaskState,
    task::{Attempt, AttemptOutcome, Content, Failure, Holder, Labels, Progress, Task},
};

/// The task after an event, and what else is to be written in the same statement or transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The row after the event; its revision is one more than before.
    pub task: Task,
    /// The new context, when the event saved one.
    pub context: Option<Content>,
    /// The new result: `Some(None)` clears it.
    pub result: Option<Option<Content>>,
    /// The new labels, when the event replaced them.
    pub labels: Option<Labels>,
    /// The attempt that the event ended, for the history.
    pub ended: Option<Attempt>,
}

/// Why an event is not accepted. Nothing is written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The event has already happened: the answer is OK and the task as it is.
    #[error("nothing to change")]
    AlreadyDone,
    /// The attempt is not the one in force any more.
    #[error("the lease of attempt {given} is lost; the attempt in force is {in_force}")]
    LeaseLost { given: i32, in_force: i32 },
    /// The attempt is in force, but another worker's session holds it.
    #[error("the task is leased to another session")]
    NotYourLease,
    /// The state has no edge for this event.
    #[error("a task in state {state} cannot be {verb}")]
    IllegalState { state: TaskState, verb: &'static str },
    /// The context was saved by somebody else since it was read.
    #[error("the context's version is {current}")]
    ContextVersion { current: i64 },
    /// The row was changed by somebody else since it was read.
    #[error("the task's revision is {current}")]
    Revision { current: i64 },
}

/// Applies `event` to `task` at `now_ms` of the database's clock.
///
/// # Errors
/// [`Refusal`] if the event is not accepted; the task is then left as it is.
pub fn transition(task: &Task, event: &Event, now_ms: i64) -> Result<Transition, Refusal> {
    let mut step = Step::new(task, now_ms);
    match event {
        Event::Claim { worker_id, session_id, handout_ttl_ms } => {
            step.claim(worker_id, *session_id, *handout_ttl_ms)?;
        }
        Event::Start { fence, lease_ttl_ms } => step.start(*fence, *lease_ttl_ms)?,
        Event::Heartbeat { fence, lease_ttl_ms } => step.heartbeat(*fence, *lease_ttl_ms)?,
        Event::Adopt { fence, session_id, lease_ttl_ms } => {
            step.heartbeat(*fence, *lease_ttl_ms)?;
            step.out.task.holder.session_id = *session_id;
        }
        Event::Report { fence, progress } => step.report(*fence, progress)?,
        Event::SaveContext { fence, stage, context, expected_version } => {
            step.save_context(*fence, stage.as_deref(), context.as_ref(), *expected_version)?;
        }
        Event::Settle { fence, settle, digest, exit_code } => {
            step.settle(*fence, settle, *digest, *exit_code)?;
        }
        Event::LeaseExpired => step.lease_lost(FailureReason::LeaseLost)?,
        Event::WorkerRestarted => step.lease_lost(FailureReason::WorkerRestarted)?,
        Event::Promote => step.promote()?,
        Event::Unblock => step.unblock()?,
        Event::DependencyFail { message } => {
            step.expect(&[TaskState::Blocked], "failed by a dependency")?;
            step.fail_for_good(FailureReason::DependencyFailed, message);
        }
        Event::Expire => {
            step.expect(&[TaskState::Pending, TaskState::Scheduled], "expired")?;
            step.fail_for_good(FailureReason::Expired, "not started before its expiry");
        }
        Event::Cancel { message } => step.cancel(message)?,
        Event::Retry { from_start } => step.retry(*from_start)?,
        Event::Pause => step.pause()?,
        Event::Resume => step.resume()?,
        Event::Update(patch) => step.update(patch)?,
    }
    Ok(step.out)
}

/// The transition under construction.
struct Step {
    out: Transition,
    now_ms: i64,
}

impl Step {
    fn new(task: &Task, now_ms: i64) -> Self {
        let mut task = task.clone();
        task.revision += 1;
        task.update_time_ms = now_ms;
        let out = Transition { task, context: None, result: None, labels: None, ended: None };
        Self { out, now_ms }
    }

    fn expect(&self, states: &[TaskState], verb: &'static str) -> Result<(), Refusal> {
        let state = self.out.task.state;
        if states.contains(&state) { Ok(()) } else { Err(Refusal::IllegalState { state, verb }) }
    }

    /// The write must come from the attempt and session in force.
    fn fenced(&self, fence: Fence) -> Result<(), Refusal> {
        let task = &self.out.task;
        let lost = Refusal::LeaseLost { given: fence.attempt, in_force: task.attempt };
        if task.attempt != fence.attempt {
            Err(lost)
        } else if task.holder.session_id != fence.session_id {
            Err(Refusal::NotYourLease)
        } else if !task.state.is_leased() {
            Err(lost)
        } else {
            Ok(())
        }
    }

    /// The task enters `state`; `order_ms` is what the index sorts it by there.
    fn enter(&mut self, state: TaskState, order_ms: i64) {
        self.out.task.state = state;
        self.out.task.order_time_ms = order_ms;
        self.out.task.finish_time_ms = state.is_terminal().then_some(self.now_ms);
    }

    fn claim(&mut self, worker_id: &str, session_id: i64, ttl_ms: i64) -> Result<(), Refusal> {
        self.expect(&[TaskState::Pending], "claimed")?;
        self.enter(TaskState::Running, self.now_ms.saturating_add(ttl_ms));
        let task = &mut self.out.task;
        task.attempt += 1;
        task.holder =
            Holder { worker_id: worker_id.into(), session_id, beats: 0, settle_digest: 0 };
        task.claim_time_ms = Some(self.now_ms);
        task.start_time_ms = None;
        task.progress = Progress::default();
        Ok(())
    }

    fn start(&mut self, fence: Fence, ttl_ms: i64) -> Result<(), Refusal> {
        self.heartbeat(fence, ttl_ms)?;
        if self.out.task.start_time_ms.is_some() {
            return Err(Refusal::AlreadyDone);
        }
        self.out.task.start_time_ms = Some(self.now_ms);
        Ok(())
    }

    fn heartbeat(&mut self, fence: Fence, ttl_ms: i64) -> Result<(), Refusal> {
        self.fenced(fence)?;
        self.out.task.order_time_ms = self.now_ms.saturating_add(ttl_ms);
        self.out.task.holder.beats += 1;
        Ok(())
    }

    fn report(&mut self, fence: Fence, progress: &Progress) -> Result<(), Refusal> {
        self.fenced(fence)?;
        let kept = &mut self.out.task.progress;
        kept.percent = progress.percent.or(kept.percent);
        if !progress.message.is_empty() {
            kept.message.clone_from(&progress.message);
        }
        kept.metrics.extend(progress.metrics.iter().map(|(name, value)| (name.clone(), *value)));
        Ok(())
    }

    fn save_context(
        &mut self,
        fence: Fence,
        stage: Option<&str>,
        context: Option<&Content>,
        expected_version: Option<i64>,
    ) -> Result<(), Refusal> {
        self.fenced(fence)?;
        let task = &mut self.out.task;
        let current = task.context_version;
        if expected_version.is_some_and(|expected| expected != current) {
            return Err(Refusal::ContextVersion { current });
        }
        task.context_version += 1;
        if let Some(stage) = stage {
            task.stage = stage.into();
        }
        self.out.context = context.cloned();
        Ok(())
    }

    fn settle(
        &mut self,
        fence: Fence,
        settle: &Settle,
        digest: i64,
        exit_code: Option<i32>,
    ) -> Result<(), Refusal> {
        let task = &self.out.task;
        let held = Fence { attempt: task.attempt, session_id: task.holder.session_id };
        if held == fence && !task.state.is_leased() && task.holder.settle_digest == digest {
            return Err(Refusal::AlreadyDone);
        }
        self.fenced(fence)?;
        let cancelling = task.state == TaskState::Cancelling;
        match settle {
            Settle::Complete { result } => {
                self.end_attempt(AttemptOutcome::Succeeded, None, exit_code);
                self.out.result = Some(result.clone());
                self.out.task.failure = None;
                self.enter(TaskState::Succeeded, self.now_ms);
            }
            Settle::Fail { message, .. } | Settle::Release { message, .. } if cancelling => {
                self.cancelled(message, exit_code);
            }
            Settle::Fail { reason, message, hint } => {
                let failure = Failure { reason: *reason, message: message.clone() };
                self.end_attempt(AttemptOutcome::Failed, Some(failure.clone()), exit_code);
                self.fail(failure, *hint);
            }
            Settle::Release { reason, message, delay_ms } => {
                let failure = Failure { reason: *reason, message: message.clone() };
                self.end_attempt(AttemptOutcome::Released, Some(failure), exit_code);
                self.requeue(*delay_ms);
            }
        }
        self.out.task.holder.settle_digest = digest;
        Ok(())
    }

    fn end_attempt(
        &mut self,
        outcome: AttemptOutcome,
        failure: Option<Failure>,
        exit_code: Option<i32>,
    ) {
        let task = &self.out.task;
        self.out.ended = Some(Attempt {
            attempt: task.attempt,
            run: task.run,
            worker_id: task.holder.worker_id.clone(),
            session_id: task.holder.session_id,
            stage: task.stage.clone(),
            claim_time_ms: task.claim_time_ms.unwrap_or(self.now_ms),
            start_time_ms: task.start_time_ms,
            end_time_ms: self.now_ms,
            outcome,
            failure,
            exit_code,
        });
    }

    /// A failure that counts against the budget.
    fn fail(&mut self, failure: Failure, hint: RetryHint) {
        let task = &mut self.out.task;
        task.failures += 1;
        let again = task.retry.allows(task.failures)
            && hint != RetryHint::Never
            && !failure.reason.is_permanent();
        task.failure = Some(failure);
        if !again {
            return self.enter(TaskState::Failed, self.now_ms);
        }
        let back_off_ms = task.retry.back_off_ms(task.failures);
        let wait_ms = match hint {
            RetryHint::AfterMs(least_ms) => back_off_ms.max(least_ms),
            RetryHint::ByPolicy | RetryHint::Never => back_off_ms,
        };
        self.enter(TaskState::Scheduled, self.now_ms.saturating_add(wait_ms));
    }

    fn fail_for_good(&mut self, reason: FailureReason, message: &str) {
        self.out.task.failure = Some(Failure { reason, message: message.into() });
        self.enter(TaskState::Failed, self.now_ms);
    }

    /// Back into the queue at its old seniority, or after a delay.
    fn requeue(&mut self, delay_ms: i64) {
        if delay_ms > 0 {
            return self.enter(TaskState::Scheduled, self.now_ms.saturating_add(delay_ms));
        }
        let task = &self.out.task;
        let order_ms = pending_order_ms(task.create_time_ms, task.priority);
        self.enter(TaskState::Pending, order_ms);
    }

    fn cancelled(&mut self, message: &str, exit_code: Option<i32>) {
        let message = match &self.out.task.failure {
            Some(asked) if asked.reason == FailureReason::Cancelled => asked.message.clone(),
            _ => message.to_owned(),
        };
        let failure = Failure { reason: FailureReason::Cancelled, message };
        self.end_attempt(AttemptOutcome::Cancelled, Some(failure.clone()), exit_code);
        self.out.task.failure = Some(failure);
        self.enter(TaskState::Cancelled, self.now_ms);
    }

    /// The worker is gone. A task that it had not started goes back as if nothing had been.
    fn lease_lost(&mut self, reason: FailureReason) -> Result<(), Refusal> {
        self.expect(&[TaskState::Running, TaskState::Cancelling], "taken back")?;
        let worker_id = self.out.task.holder.worker_id.clone();
        if self.out.task.state == TaskState::Cancelling {
            self.cancelled(&format!("worker {worker_id} was lost while it stopped the task"), None);
            return Ok(());
        }
        if self.out.task.start_time_ms.is_none() {
            let message = format!("worker {worker_id} did not start it");
            let failure = Failure { reason: FailureReason::NotStarted, message };
            self.end_attempt(AttemptOutcome::Released, Some(failure), None);
            self.requeue(0);
            return Ok(());
        }
        let message = format!("worker {worker_id} was lost while it ran the task");
        let failure = Failure { reason, message };
        self.end_attempt(AttemptOutcome::Lost, Some(failure.clone()), None);
        let task = &mut self.out.task;
        task.crashes += 1;
        task.failure = Some(failure);
        if task.crashes > task.max_crashes {
            let message = format!("{} workers were lost while they ran it", task.crashes);
            self.fail_for_good(FailureReason::Poison, &message);
        } else {
            self.requeue(0);
        }
        Ok(())
    }

    fn promote(&mut self) -> Result<(), Refusal> {
        self.expect(&[TaskState::Scheduled], "promoted")?;
        let task = &self.out.task;
        if task.order_time_ms > self.now_ms {
            return Err(Refusal::IllegalState { state: task.state, verb: "promoted early" });
        }
        let order_ms = pending_order_ms(task.order_time_ms, task.priority);
        self.enter(TaskState::Pending, order_ms);
        Ok(())
    }

    fn unblock(&mut self) -> Result<(), Refusal> {
        self.expect(&[TaskState::Blocked], "unblocked")?;
        let order_ms = pending_order_ms(self.now_ms, self.out.task.priority);
        self.enter(TaskState::Pending, order_ms);
        Ok(())
    }

    fn cancel(&mut self, message: &str) -> Result<(), Refusal> {
        let failure = Failure { reason: FailureReason::Cancelled, message: message.into() };
        match self.out.task.state {
            TaskState::Cancelling | TaskState::Cancelled => return Err(Refusal::AlreadyDone),
            // The lease goes on: the worker heartbeats until it has stopped the task.
            TaskState::Running => self.out.task.state = TaskState::Cancelling,
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked | TaskState::Paused => {
                self.out.task.paused_from = None;
                self.enter(TaskState::Cancelled, self.now_ms);
            }
            state @ (TaskState::Succeeded | TaskState::Failed) => {
                return Err(Refusal::IllegalState { state, verb: "cancelled" });
            }
        }
        self.out.task.failure = Some(failure);
        Ok(())
    }

    fn retry(&mut self, from_start: bool) -> Result<(), Refusal> {
        let terminal = [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled];
        self.expect(&terminal, "retried")?;
        let task = &mut self.out.task;
        task.run += 1;
        task.failures = 0;
        task.crashes = 0;
        task.failure = None;
        task.progress = Progress::default();
        if from_start {
            task.stage.clear();
            task.context_version += 1;
            self.out.context = Some(Content::default());
        }
        self.out.result = Some(None);
        let order_ms = pending_order_ms(self.now_ms, self.out.task.priority);
        self.enter(TaskState::Pending, order_ms);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Refusal> {
        let task = &mut self.out.task;
        match task.state {
            TaskState::Paused => Err(Refusal::AlreadyDone),
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked => {
                task.paused_from = Some((task.state, task.order_time_ms));
                self.enter(TaskState::Paused, self.now_ms);
                Ok(())
            }
            state => Err(Refusal::IllegalState { state, verb: "paused" }),
        }
    }

    fn resume(&mut self) -> Result<(), Refusal> {
        match self.out.task.state {
            TaskState::Paused => {
                let before = self.out.task.paused_from.take();
                let (state, order_ms) = before.unwrap_or((TaskState::Pending, self.now_ms));
                self.enter(state, order_ms);
                Ok(())
            }
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked => {
                Err(Refusal::AlreadyDone)
            }
            state => Err(Refusal::IllegalState { state, verb: "resumed" }),
        }
    }

    fn update(&mut self, patch: &TaskPatch) -> Result<(), Refusal> {
        let current = self.out.task.revision - 1;
        if patch.expected_revision.is_some_and(|expected| expected != current) {
            return Err(Refusal::Revision { current });
        }
        if self.out.task.state.is_terminal() {
            return Err(Refusal::IllegalState { state: self.out.task.state, verb: "updated" });
        }
        if let Some(priority) = patch.priority {
            self.set_priority(priority);
        }
        if let Some(not_before_ms) = patch.not_before_ms {
            self.set_not_before(not_before_ms);
        }
        let task = &mut self.out.task;
        if let Some(name) = &patch.name {
            task.name.clone_from(name);
        }
        task.retry = task.retry.patched(&patch.retry);
        task.max_running_ms = patch.max_running_ms.unwrap_or(task.max_running_ms);
        self.out.labels.clone_from(&patch.labels);
        Ok(())
    }

    /// Seniority moves with the priority, also of a task that is paused in the queue.
    fn set_priority(&mut self, priority: i32) {
        let task = &mut self.out.task;
        let shift_ms = i64::from(task.priority - priority) * PRIORITY_POINT_MS;
        task.priority = priority;
        match &mut task.paused_from {
            Some((TaskState::Pending, order_ms)) => *order_ms += shift_ms,
            _ if task.state == TaskState::Pending => task.order_time_ms += shift_ms,
            _ => {}
        }
    }

    /// Moves a waiting task to its new time. A task in back-off never starts before its back-off
    /// ends, and a leased task keeps the time for its next run only.
    fn set_not_before(&mut self, not_before_ms: Option<i64>) {
        let task = &mut self.out.task;
        let was_due_ms = task.not_before_ms;
        task.not_before_ms = not_before_ms;
        let due_ms = not_before_ms.unwrap_or(self.now_ms);
        let place = (task.state, task.order_time_ms);
        let moved = match task.paused_from.unwrap_or(place) {
            (TaskState::Pending, _) if due_ms > self.now_ms => (TaskState::Scheduled, due_ms),
            (TaskState::Scheduled, old_ms) if was_due_ms == Some(old_ms) => {
                (TaskState::Scheduled, due_ms)
            }
            (TaskState::Scheduled, old_ms) => (TaskState::Scheduled, old_ms.max(due_ms)),
            unmoved => unmoved,
        };
        if task.paused_from.is_some() {
            task.paused_from = Some(moved);
        } else if moved != place {
            self.enter(moved.0, moved.1);
        }
    }
}

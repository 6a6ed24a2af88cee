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
//! It is pure: the store reads the row, asks here, and writes what comes back on the condition that
//! the row's revision is still the one that was read. Time is an argument: the database's.

mod bind;
mod hold;
mod overtake;
mod owner;
mod queue;
mod settle;

use crate::{
    event::Event,
    id::WorkflowId,
    reason::FailureReason,
    state::TaskState,
    task::{Attempt, Content, Labels, ResultChange, Task},
};

/// The task after an event, and what else is to be written in the same statement or transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The row after the event; its revision is one more than before.
    pub task: Task,
    /// The new context, when the event saved one.
    pub context: Option<Content>,
    /// What becomes of the result, when the event touches it.
    pub result: Option<ResultChange>,
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
    /// It is up to the workflow that the task is a part of.
    #[error("the task is a part of workflow {0} and cannot be {1} by itself")]
    OfWorkflow(WorkflowId, &'static str),
    /// What it made may be needed yet by the workflow that it is a part of.
    #[error("the task is a part of workflow {0}, which has not ended; cancel that or wait")]
    OfLiveWorkflow(WorkflowId),
    /// A twin does what its task does, and nothing by itself.
    #[error("the task is a twin and cannot be {0} by itself")]
    Twin(&'static str),
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
            step.adopt(*fence, *session_id, *lease_ttl_ms)?;
        }
        Event::Report { fence, progress } => step.report(*fence, progress)?,
        Event::SaveContext { fence, stage, context, expected_version } => {
            step.save_context(*fence, stage.as_deref(), context.as_ref(), *expected_version)?;
        }
        Event::Settle { fence, settle, digest, exit_code, usage } => {
            step.settle(*fence, settle, *digest, *exit_code)?;
            if let Some(ended) = &mut step.out.ended {
                ended.usage.clone_from(usage);
            }
        }
        Event::MakeChildren { fence } => step.make_children(*fence)?,
        Event::Bind(tie) => step.bind(*tie)?,
        Event::LeaseExpired => step.lease_expired()?,
        Event::WorkerRestarted => step.lease_lost(FailureReason::WorkerRestarted)?,
        Event::Overtake { twin, result } => step.overtake(twin, result.as_ref())?,
        Event::Promote => step.promote()?,
        Event::Unblock => step.unblock()?,
        Event::DependencyFail { message } => step.dependency_fail(message)?,
        Event::Expire => step.expire()?,
        Event::Cancel { message } => step.cancel(message)?,
        Event::Retry { from_start, is_waiting } => step.retry(*from_start, *is_waiting)?,
        Event::Pause => step.pause()?,
        Event::Resume => step.resume()?,
        Event::Update(patch) => step.update(patch)?,
        Event::ExpireResult => step.expire_result()?,
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

    /// The task enters `state`; `order_ms` is what the index sorts it by there.
    fn enter(&mut self, state: TaskState, order_ms: i64) {
        self.out.task.state = state;
        self.out.task.order_time_ms = order_ms;
        self.out.task.finish_time_ms = state.is_terminal().then_some(self.now_ms);
    }
}

//! A task as the domain sees it: the row without its large values, and the values apart.
//!
//! Every transition reads and rewrites a [`Task`]; the blobs of a [`TaskBody`] are only read when a
//! client or a worker asks for them and only written when an event replaces them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    id::{TaskId, WorkflowId},
    reason::FailureReason,
    resources::Resources,
    retry::RetryPolicy,
    state::TaskState,
    usage::AttemptUsage,
};

/// Labels of a task: at most `limits::LABELS_MAX`, ordered so that equal sets encode equally.
pub type Labels = BTreeMap<String, String>;

/// Bytes that asyncflow carries but never looks into, with their media type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    #[serde(with = "crate::text_or_base64")]
    pub data: Bytes,
    /// A media type, e.g. `application/json`; empty when the client gave none.
    pub content_type: String,
}

/// Why the last attempt, or the task, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// For people; at most `limits::MESSAGE_BYTES_MAX` bytes.
    pub message: String,
}

/// What a running task last said of itself. Overwritten, never appended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// 0 to 100; `None` until the task says something.
    pub percent: Option<f64>,
    pub message: String,
    /// The latest value of each named metric, e.g. `loss`.
    pub metrics: BTreeMap<String, f64>,
}

/// Who holds, or last held, the task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    pub worker_id: String,
    /// The registration of that worker under which the task was claimed; 0 before the first claim.
    pub session_id: i64,
    /// +1 at every renewal; the governor's two looks compare it.
    pub beats: i64,
    /// Digest of the call that ended the attempt, so that its replay can be told from a stale call.
    pub settle_digest: i64,
}

/// A task's row without payload, context, result and labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub user: String,
    /// What people call it; may be empty.
    pub name: String,
    /// The W3C trace id of the call that created it; 32 hexadecimal digits, or empty.
    pub trace_id: String,
    pub state: TaskState,
    /// Milliseconds; what it means depends on the state, see [`crate::order`].
    pub order_time_ms: i64,
    /// −1,000 to 1,000; each point is one second of seniority.
    pub priority: i32,
    /// +1 at every write of the row: the compare-and-swap of every store verb, and the etag.
    pub revision: i64,
    /// +1 at every RetryTask.
    pub run: i32,
    /// The fence: +1 at every claim, never reset.
    pub attempt: i32,
    /// Counted against `retry.max_retries`.
    pub failures: i32,
    /// How often a worker was lost while it ran this task.
    pub crashes: i32,
    /// More crashes than this end the task as POISON.
    pub max_crashes: i32,
    pub retry: RetryPolicy,
    /// Limit of one attempt's running time; 0 = none.
    pub max_running_ms: i64,
    pub not_before_ms: Option<i64>,
    /// For PAUSED: the state and order_time to go back to.
    pub paused_from: Option<(TaskState, i64)>,
    /// The last stage that was saved; empty before the first.
    pub stage: String,
    /// +1 at every save of the context; 0 = as created.
    pub context_version: i64,
    pub progress: Progress,
    pub failure: Option<Failure>,
    pub holder: Holder,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    /// Of the attempt in force or the last one: when it was claimed.
    pub claim_time_ms: Option<i64>,
    /// Of the attempt in force or the last one: when its worker said that it runs. Unset while the
    /// task is only handed out.
    pub start_time_ms: Option<i64>,
    pub finish_time_ms: Option<i64>,
    /// The workflow that it is a part of. Never changes.
    pub member: Option<Member>,
    /// What others have to do with it.
    pub ties: Ties,
    /// An expression over `result` that must hold, else the attempt has failed; empty for most.
    /// Never changes.
    pub success_if: String,
    /// What it needs on its host; `None` for most: a slot.
    pub resources: Option<Arc<Resources>>,
}

/// What others have to do with a task, kept in its row so that most tasks need not ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Others wait for its end.
    pub awaited: bool,
    /// It has made tasks of its own.
    pub children: bool,
    /// Signals may have come for it, or for its workflow.
    pub signalled: bool,
    /// A twin of it was made, in this run or one before.
    pub twinned: bool,
    /// It is the twin of another task.
    pub twin: bool,
}

impl Ties {
    /// The stored number, a bit for each.
    pub fn code(self) -> i16 {
        let bits = [self.awaited, self.children, self.signalled, self.twinned, self.twin];
        bits.iter().enumerate().fold(0, |code, (at, bit)| code | i16::from(*bit) << at)
    }

    /// Those with this stored number; bits that are not known are passed over.
    pub fn from_code(code: i16) -> Self {
        let bit = |at: u32| code >> at & 1 == 1;
        Self { awaited: bit(0), children: bit(1), signalled: bit(2), twinned: bit(3), twin: bit(4) }
    }
}

/// Where in a workflow a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub workflow: WorkflowId,
    pub node: u32,
    /// Which of the node's items, from 0.
    pub item: u32,
}

impl Member {
    /// Node and item in one number, as they are stored.
    pub fn place(&self) -> i64 {
        (i64::from(self.node) << 32) | i64::from(self.item)
    }

    /// The member with this stored place; `None` for key 0, which is no workflow's.
    pub fn at(workflow: i64, place: i64) -> Option<Self> {
        let (node, item) = ((place >> 32) as u32, place as u32);
        (workflow != 0).then_some(Self { workflow: WorkflowId(workflow), node, item })
    }
}

/// The large values of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskBody {
    /// What the task was created with; never changes.
    pub payload: Content,
    /// What the task saved of itself; starts empty.
    pub context: Content,
    pub result: Option<Content>,
    /// There was a result, which was removed before the task; `result` is `None` then.
    pub result_expired: bool,
    pub labels: Labels,
}

/// What an event does to a task's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultChange {
    Keep(Content),
    /// As if there never was one.
    Clear,
    /// It goes, and that there was one is kept.
    Expire,
}

/// A task with everything.
#[derive(Clone, Debug, PartialEq)]
pub struct FullTask {
    pub task: Task,
    pub body: TaskBody,
}

impl Task {
    /// Whether it needs more than a slot, so that it has to be looked where it goes.
    pub fn is_needy(&self) -> bool {
        self.resources.as_deref().is_some_and(Resources::is_needy)
    }

    /// Whether it waits for others or a condition, also while it is paused.
    pub fn is_blocked(&self) -> bool {
        let paused_from = self.paused_from.map(|(state, _)| state);
        [Some(self.state), paused_from].contains(&Some(TaskState::Blocked))
    }

    /// The attempt that completed the task, as far as its row tells: it says nothing of an exit
    /// code. `None` unless the task is SUCCEEDED, for any other end may have come without an
    /// attempt.
    pub fn completing_attempt(&self) -> Option<Attempt> {
        let end_time_ms = self.finish_time_ms.filter(|_| self.state == TaskState::Succeeded)?;
        Some(Attempt {
            attempt: self.attempt,
            run: self.run,
            worker_id: self.holder.worker_id.clone(),
            session_id: self.holder.session_id,
            stage: self.stage.clone(),
            claim_time_ms: self.claim_time_ms.unwrap_or(end_time_ms),
            start_time_ms: self.start_time_ms,
            end_time_ms,
            outcome: AttemptOutcome::Succeeded,
            failure: None,
            exit_code: None,
            usage: None,
        })
    }
}

impl FullTask {
    /// What payload and context weigh.
    pub fn bytes(&self) -> usize {
        self.body.payload.data.len() + self.body.context.data.len()
    }
}

/// One ended attempt, as kept in the history table of its shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub attempt: i32,
    pub run: i32,
    pub worker_id: String,
    pub session_id: i64,
    /// The last stage that the attempt saved or found saved.
    pub stage: String,
    pub claim_time_ms: i64,
    /// `None` if the worker never said that it started.
    pub start_time_ms: Option<i64>,
    pub end_time_ms: i64,
    pub outcome: AttemptOutcome,
    /// Set unless the outcome is `Succeeded`.
    pub failure: Option<Failure>,
    /// Of the process, when there was one; −signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// What it used; `None` if its worker did not say.
    pub usage: Option<Box<AttemptUsage>>,
}

/// How an attempt ended. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AttemptOutcome {
    Succeeded = 1,
    Failed = 2,
    Cancelled = 3,
    /// Given back without a failure: drained, checkpointed, preempted, never started.
    Released = 4,
    /// The worker was lost.
    Lost = 5,
}

impl AttemptOutcome {
    pub const ALL: [AttemptOutcome; 5] =
        [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Released, Self::Lost];

    /// The stored number, 1 to 5.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The outcome with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

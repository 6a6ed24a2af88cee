//! What can happen to a task. The store turns every verb into one of these.

use crate::{
    id::TaskId,
    reason::FailureReason,
    retry::RetryPatch,
    task::{Content, Failure, Labels, Progress},
    usage::AttemptUsage,
    verdict::Verdict,
};

/// The lease under which a worker writes: the attempt is the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    pub attempt: i32,
    pub session_id: i64,
}

/// What a failing attempt asks for; the type's and task's budgets have the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryHint {
    /// Back off by the retry policy, up to `max_retries`.
    ByPolicy,
    /// Back off, but at least this long; counts as a failure.
    AfterMs(i64),
    /// Do not try again.
    Never,
}

/// How an attempt ended, in its worker's words.
#[derive(Clone, Debug, PartialEq)]
pub enum Settle {
    /// It is done; the result is kept.
    Complete {
        result: Option<Content>,
        /// What the task's `success_if` says of it, if somebody has looked before; else the machine
        /// looks itself, which takes a while.
        verdict: Option<Verdict>,
    },
    /// It failed. In CANCELLING this confirms the cancel.
    Fail { reason: FailureReason, message: String, hint: RetryHint },
    /// It gives the task back without a failure: drain, checkpoint (exit code 85), not adopted.
    Release { reason: FailureReason, message: String, delay_ms: i64, hand_over: HandOver },
    /// It gives its slot back and goes on when what it waits for is there.
    Wait {
        until: Until,
        message: String,
        /// Whether something of it is not there yet; the store says so, under its locks.
        is_pending: bool,
        /// What it fails of if nothing is pending: it would only do the same again.
        or_fail: Option<Failure>,
    },
}

impl Settle {
    /// It is done, with a result that nobody has looked at.
    pub fn complete(result: Option<Content>) -> Self {
        Self::Complete { result, verdict: None }
    }

    /// It gives the task back as it is.
    pub fn release(reason: FailureReason, message: impl Into<String>, delay_ms: i64) -> Self {
        let hand_over = HandOver::default();
        Self::Release { reason, message: message.into(), delay_ms, hand_over }
    }
}

/// What a task that is given back takes along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Its context from now on; `None` leaves it as it is.
    pub context: Option<Content>,
    /// The host that its next attempt keeps away from, unless there is no other one for it.
    pub avoid_host: Option<String>,
}

/// What a task waits for between two attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Until {
    /// The end of all tasks that it has made so far.
    pub children: bool,
    /// These signals, each of them.
    pub signals: Vec<String>,
}

/// What becomes tied to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// Another task waits for its end.
    Awaited,
    /// A signal has come for it.
    Signalled,
    /// A twin of it is made.
    Twinned,
}

/// Fields of a task that its owner may change while it is not terminal. `None` = leave as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPatch {
    pub name: Option<String>,
    pub priority: Option<i32>,
    pub labels: Option<Labels>,
    /// `Some(None)` clears it.
    pub not_before_ms: Option<Option<i64>>,
    pub retry: RetryPatch,
    /// `Some(0)` clears it.
    pub max_running_ms: Option<i64>,
    /// Refuse unless the task's revision is this one.
    pub expected_revision: Option<i64>,
}

/// One thing that happens to one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker's session takes it; it has `handout_ttl_ms` to say that it started.
    Claim {
        worker_id: String,
        session_id: i64,
        handout_ttl_ms: i64,
    },
    /// The worker has started it.
    Start {
        fence: Fence,
        lease_ttl_ms: i64,
    },
    /// The worker still runs it.
    Heartbeat {
        fence: Fence,
        lease_ttl_ms: i64,
    },
    /// The worker came back as a new process that still runs it: the lease moves to its new
    /// session.
    Adopt {
        fence: Fence,
        session_id: i64,
        lease_ttl_ms: i64,
    },
    /// Overwrites progress; fields that are unset or empty leave the old ones.
    Report {
        fence: Fence,
        progress: Progress,
    },
    /// A stage ended or a checkpoint was made: stage, context and version change together.
    SaveContext {
        fence: Fence,
        /// `None` leaves the stage as it is.
        stage: Option<String>,
        /// `None` leaves the bytes as they are.
        context: Option<Content>,
        /// Refuse unless the context's version is this one.
        expected_version: Option<i64>,
    },
    /// The attempt ended. `digest` tells a replay of the same call from another call.
    Settle {
        fence: Fence,
        settle: Settle,
        digest: i64,
        exit_code: Option<i32>,
        /// What its worker says that it used; no part of the digest.
        usage: Option<Box<AttemptUsage>>,
    },
    /// The worker was not heard of: its lease ran out and two looks saw no heartbeat.
    LeaseExpired,
    /// The worker came back as a new process and does not adopt this task.
    WorkerRestarted,
    /// It makes tasks of its own.
    MakeChildren {
        fence: Fence,
    },
    /// Others have to do with it from now on.
    Bind(Tie),
    /// Its twin was done first: it ends with the twin's result.
    Overtake {
        twin: TaskId,
        result: Option<Content>,
    },
    /// SCHEDULED and due.
    Promote,
    /// What it waited for is there (BLOCKED → PENDING).
    Unblock,
    /// What it waited for cannot come any more.
    DependencyFail {
        message: String,
    },
    /// It was not started before its expiry.
    Expire,
    /// An owner's verbs.
    Cancel {
        message: String,
    },
    /// Opens a new run of a terminal task; `from_start` forgets stage and context.
    Retry {
        from_start: bool,
        /// It was cancelled while it waited for something that has not come since.
        is_waiting: bool,
    },
    Pause,
    Resume,
    Update(TaskPatch),
    /// Its type keeps results for a shorter time than tasks.
    ExpireResult,
}

impl Event {
    /// Opens a new run of a terminal task. Whether it waits is found out where that is recorded.
    pub fn retry(from_start: bool) -> Self {
        Self::Retry { from_start, is_waiting: false }
    }

    /// The name that `docs/STATE-MACHINE.md` uses; a settle goes by the way in which it ends.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "Claim",
            Self::Start { .. } => "Start",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::Report { .. } => "Report",
            Self::SaveContext { .. } => "SaveContext",
            Self::Settle { settle: Settle::Complete { .. }, .. } => "Complete",
            Self::Settle { settle: Settle::Fail { .. }, .. } => "Fail",
            Self::Settle { settle: Settle::Release { .. }, .. } => "Release",
            Self::Settle { settle: Settle::Wait { .. }, .. } => "Wait",
            Self::MakeChildren { .. } => "MakeChildren",
            Self::Bind(_) => "Bind",
            Self::Adopt { .. } => "Adopt",
            Self::LeaseExpired => "LeaseExpired",
            Self::WorkerRestarted => "WorkerRestarted",
            Self::Overtake { .. } => "Overtake",
            Self::Promote => "Promote",
            Self::Unblock => "Unblock",
            Self::DependencyFail { .. } => "DependencyFail",
            Self::Expire => "Expire",
            Self::Cancel { .. } => "Cancel",
            Self::Retry { .. } => "Retry",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Update(_) => "Update",
            Self::ExpireResult => "ExpireResult",
        }
    }

    /// Whether it makes a terminal task live again.
    pub const fn revives(&self) -> bool {
        matches!(self, Self::Retry { .. })
    }
}

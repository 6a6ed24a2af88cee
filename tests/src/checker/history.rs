//! What is known of a run when it is over.

use asyncflow_core::{retry::RetryPolicy, state::TaskState, task::AttemptOutcome};
use tonic::Code;

use super::record::{Mark, Record};

/// Everything that was seen of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order in which they were invoked.
    pub calls: Vec<Call>,
    /// The tasks in the end.
    pub rows: Vec<Row>,
    /// Their ended attempts in the end.
    pub attempts: Vec<Attempt>,
    /// What programs wrote down, in the order in which they did.
    pub records: Vec<Record>,
    /// Of all processes.
    pub logs: Vec<Log>,
    /// What the test did to the processes and their connections.
    pub faults: Vec<Fault>,
    /// Processes of attempts that still ran when every task had ended.
    pub left_over: Vec<Process>,
    /// Transactions that stood open then, for longer than any of ours takes.
    pub open_transactions: Vec<String>,
    /// What no log may tell.
    pub secrets: Vec<String>,
}

/// One call of a client. Times are numbers of one count over the whole run.
#[derive(Clone, Debug)]
pub struct Call {
    pub client: usize,
    pub invoked: u64,
    pub returned: u64,
    pub kind: Kind,
    pub told: Told,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Create {
        request_id: String,
    },
    /// A look at a task, whoever makes it.
    Read {
        task: String,
    },
    Cancel {
        task: String,
    },
    Retry {
        task: String,
    },
    Delete {
        task: String,
    },
}

/// What the client was told.
#[derive(Clone, Debug)]
pub enum Told {
    /// It was done; the task as it was answered, unless it is gone.
    Ok(Option<Box<Row>>),
    /// It was not done, and will not be.
    Refused { code: Code, message: String },
    /// Nobody knows whether it was done: the call ran out of time, or its connection broke.
    Unknown { code: Code, message: String },
}

/// A task as somebody saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    /// Clients name a task after the request that made it.
    pub request_id: String,
    pub state: TaskState,
    pub attempt: i32,
    pub run: i32,
    pub failures: i32,
    pub crashes: i32,
    pub worker: String,
    pub context_version: i64,
    /// Whether context and result were told, too.
    pub is_full: bool,
    /// What it last saved; `None` before the first time.
    pub context: Option<Mark>,
    pub result: Option<Mark>,
    pub retry: RetryPolicy,
    /// Only in the tables.
    pub max_crashes: Option<i32>,
}

/// An attempt that has ended, in the tables.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub task: String,
    pub attempt: i32,
    pub run: i32,
    pub worker: String,
    pub outcome: AttemptOutcome,
    /// By the database's clock, as the next one.
    pub claim_ms: i64,
    pub end_ms: i64,
}

impl Attempt {
    /// Whether it ended through no doing of its program.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.outcome, AttemptOutcome::Lost | AttemptOutcome::Released)
    }
}

/// What a process wrote.
#[derive(Clone, Debug)]
pub struct Log {
    pub process: String,
    pub text: String,
}

/// What the test did, and to whom.
#[derive(Clone, Debug)]
pub struct Fault {
    pub what: String,
    /// Workers that may lose the tasks that they hold meanwhile.
    pub workers: Vec<String>,
    /// From when to when, by the database's clock.
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Fault {
    /// Whether it may have cost its worker this attempt.
    pub fn may_cost(&self, attempt: &Attempt) -> bool {
        let at_the_time = attempt.claim_ms <= self.to_ms && self.from_ms <= attempt.end_ms;
        at_the_time && self.workers.contains(&attempt.worker)
    }
}

/// A process that an attempt left behind.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub task: String,
}

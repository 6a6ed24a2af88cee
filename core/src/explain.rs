//! Why a task is where it is: in one sentence, and in parts for programs.
//!
//! ```text
//!  task, its type, its place in the queue ─┐
//!  workers, what they report and hear ─────┴─▶ explain ─▶ sentence, reasons, earliest start
//! ```
//!
//! What is free on a host is taken from what its worker reported last, seconds ago; the worker's
//! offer, by which tasks are placed, may differ for a moment.

mod room;
mod state;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{TaskId, TypeName},
    resources::Resources,
    task::Task,
};

/// What an explanation is made from.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub task: &'a Task,
    pub now_ms: i64,
    pub is_type_paused: bool,
    /// Those of all workers, also of those that do not run its type.
    pub hosts: &'a [Host],
    /// Tasks of its type that are taken before it; `None` = not in the queue.
    pub ahead: Option<Ahead>,
    /// What it waits for if it is BLOCKED: ids, `signal NAME`, `children`.
    pub waits_for: &'a [String],
    /// GPUs that are kept for tasks, as far as is known.
    pub holds: &'a [Held],
}

/// GPUs of a host that are kept for a task which needs several and has waited for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub task_id: TaskId,
    /// Whose task that is.
    pub user: String,
    pub worker_id: String,
    /// UUIDs, also of those that others still use.
    pub gpus: Vec<String>,
    /// When all of them are free at the latest; `None` = not known.
    pub start_ms: Option<i64>,
}

/// How many stand before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    Exactly(u32),
    /// Nobody has counted further.
    AtLeast(u32),
}

/// A worker, and what it reported of its host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    pub worker_id: String,
    /// What the host is called.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// The types that it runs; `None` = all.
    pub types: Option<BTreeSet<TypeName>>,
    /// Tasks that it runs at once.
    pub slots: u32,
    pub running: u32,
    /// It was heard of lately.
    pub is_alive: bool,
    /// When it was heard of last; `None` = not known.
    pub heard_ms: Option<i64>,
    /// Its worker has left: nothing is known but its orders, and it might have anything.
    pub is_unknown: bool,
    pub is_cordoned: bool,
    pub is_draining: bool,
    pub report: Option<Report>,
}

/// What a worker reported of its host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Thousandths of cores.
    pub cpu_millis: i64,
    pub cpu_free_millis: i64,
    pub memory_bytes: i64,
    pub memory_free_bytes: i64,
    pub gpus: Vec<Gpu>,
    pub running: Vec<Running>,
    /// Why it cannot start tasks and takes none, for people; empty = it can.
    pub takes_nothing: String,
}

/// A GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    pub uuid: String,
    pub index: i32,
    pub model: String,
    pub memory_bytes: i64,
    /// In use by anybody.
    pub memory_used_bytes: i64,
    pub state: GpuState,
    /// Why it may not be used, for people.
    pub reason: String,
    /// When it may be used again.
    pub until_ms: Option<i64>,
    /// Processes on it that the worker did not start.
    pub processes: Vec<Process>,
}

/// What may be done with a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuState {
    #[default]
    Ready,
    /// An operator keeps tasks away.
    Cordoned,
    /// A stranger uses it.
    Foreign,
    /// A stranger used it a moment ago.
    CoolingDown,
    /// A fault, until a probe.
    Quarantined,
    /// A fault, until somebody says otherwise.
    Broken,
}

/// A process that the worker did not start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub user: String,
    pub command: String,
    pub memory_bytes: i64,
    pub utilization_percent: i32,
    pub since_ms: Option<i64>,
    /// It keeps tasks away.
    pub blocks: bool,
    /// How it is taken; the protocol's number.
    pub treatment: i32,
}

/// A task that runs there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub task_id: String,
    pub user: String,
    /// UUIDs.
    pub gpus: Vec<String>,
    /// Its share of the memory of the one GPU; 0 = the GPUs are its own.
    pub gpu_share_bytes: i64,
    /// Thousandths of cores that it asked for; 0 = none, or not known.
    pub cpu_millis: i64,
    /// Memory that it asked for; 0 = none, or not known.
    pub memory_bytes: i64,
    /// When it must have ended; `None` = not known.
    pub end_time_max_ms: Option<i64>,
    /// UUIDs of GPUs that it was found to use and was not given.
    pub trespassed_gpus: Vec<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    /// One sentence.
    pub summary: String,
    /// What it is made from, the most important first.
    pub reasons: Vec<Reason>,
    /// When it starts at the earliest, if tasks end by their limits; `None` = not known.
    pub earliest_start_ms: Option<i64>,
}

/// One reason why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub kind: Kind,
    /// For people.
    pub message: String,
    /// The host and the worker that it is about; empty = none in particular.
    pub host: String,
    pub worker_id: String,
    /// The UUID of the GPU that it is about; empty = none in particular.
    pub gpu: String,
    pub process: Option<Process>,
    /// The task that has the GPU, or for which it is kept; empty = none in particular.
    pub task_id: String,
    /// Whose that is.
    pub user: String,
}

impl Reason {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            host: String::new(),
            worker_id: String::new(),
            gpu: String::new(),
            process: None,
            task_id: String::new(),
            user: String::new(),
        }
    }

    fn on(self, host: &Host) -> Self {
        Self { host: host.name.clone(), worker_id: host.worker_id.clone(), ..self }
    }

    fn about(self, gpu: &Gpu) -> Self {
        Self { gpu: gpu.uuid.clone(), ..self }
    }
}

/// What kind of reason. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Ended = 1,
    Running = 2,
    HandedOut = 3,
    TypePaused = 4,
    Paused = 5,
    NotBefore = 6,
    BackOff = 7,
    WaitsFor = 8,
    NoWorker = 9,
    NoWorkerReady = 10,
    NeverFits = 11,
    TooLittleFree = 12,
    ForeignProcess = 13,
    GpuUnavailable = 14,
    Queued = 15,
    HeldForOthers = 16,
    NoSlot = 17,
    GpuInUse = 18,
    Trespass = 19,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 19] = [
        Self::Ended,
        Self::Running,
        Self::HandedOut,
        Self::TypePaused,
        Self::Paused,
        Self::NotBefore,
        Self::BackOff,
        Self::WaitsFor,
        Self::NoWorker,
        Self::NoWorkerReady,
        Self::NeverFits,
        Self::TooLittleFree,
        Self::ForeignProcess,
        Self::GpuUnavailable,
        Self::Queued,
        Self::HeldForOthers,
        Self::NoSlot,
        Self::GpuInUse,
        Self::Trespass,
    ];

    /// The protocol's number.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// Says why a task is where it is. The same subject gives the same answer.
pub fn explain(subject: &Subject<'_>) -> Explained {
    let reasons = state::reasons(subject);
    match reasons.first() {
        Some(first) => {
            Explained { summary: first.message.clone(), reasons, earliest_start_ms: None }
        }
        None => room::explain(subject),
    }
}

/// Whether no host could ever run a task of this type with these needs, even if nothing else ran
/// there. `false` where no host runs the type, one may come that does, and where it is not known
/// what one has that is away.
pub fn is_impossible(task_type: &TypeName, needs: &Resources, hosts: &[Host]) -> bool {
    room::is_impossible(task_type, needs, hosts)
}

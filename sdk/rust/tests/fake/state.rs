//! What the fake broker was told, and what it is to do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use asyncflow_sdk::v1::{
    AcquireTasksRequest, CreateChildTasksRequest, HostOrders, HostReport, LeasedTask, LogChunk,
    Placement, Progress, RegisterWorkerRequest, SaveContextRequest, StreamCommandsResponse, Task,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::{Settled, StreamNumber};

#[derive(Default)]
pub struct State {
    pub queue: VecDeque<Task>,
    pub sessions: BTreeSet<String>,
    pub registrations: Vec<RegisterWorkerRequest>,
    /// Leases in force: task id → attempt.
    pub leases: BTreeMap<String, i32>,
    pub cancelled: BTreeSet<String>,
    pub started: BTreeSet<String>,
    pub acquires: Vec<AcquireTasksRequest>,
    pub answered: BTreeMap<String, Vec<LeasedTask>>,
    pub contexts: Vec<SaveContextRequest>,
    pub progress: BTreeMap<String, Progress>,
    pub logs: BTreeMap<(String, StreamNumber), Vec<u8>>,
    /// Where chunks of logs begin; one that is there already is left as it is.
    pub log_offsets: BTreeMap<String, BTreeSet<i64>>,
    /// Where logs end.
    pub log_ends: BTreeMap<String, i64>,
    /// Chunks that begin within others: some of it came twice.
    pub log_overlaps: usize,
    pub settled: BTreeMap<String, Settled>,
    /// What tasks have made.
    pub children: Vec<CreateChildTasksRequest>,
    /// All that settled, in order; a task that runs twice is there twice.
    pub history: Vec<Settled>,
    /// It knows no SettleTasks.
    pub is_older: bool,
    /// Outcomes in each SettleTasks.
    pub settle_calls: Vec<usize>,
    /// It heeds `start` of AcquireTasks.
    pub starts_on_acquire: bool,
    pub deregistered: bool,
    /// Tasks that go there, whatever is offered.
    pub placements: BTreeMap<String, Placement>,
    /// What is wanted of the host.
    pub orders: HostOrders,
    pub reports: Vec<HostReport>,
    /// How often workers are to report though nothing has changed.
    pub report_ms: Option<i64>,
    /// The trace ids of calls about one task.
    pub traces: BTreeSet<(&'static str, String)>,
    pub heartbeats: usize,
    /// The last heartbeat said so.
    pub is_draining: bool,
    /// Every call is answered UNAVAILABLE.
    pub is_down: bool,
    /// No outcome is taken: calls that tell one are answered UNAVAILABLE.
    pub takes_no_outcome: bool,
    /// This many answers of AcquireTasks get lost after the tasks were leased.
    pub acquire_answers_lost: usize,
    /// Answers of StartTasks get lost after the tasks were started.
    pub start_answers_are_lost: bool,
    /// So many saves are taken; any more are answered UNAVAILABLE, and counted.
    pub saves_max: Option<usize>,
    pub saves_refused: usize,
    /// Cap of a context, as in a task type.
    pub context_bytes_max: usize,
    pub commands: Vec<mpsc::Sender<Result<StreamCommandsResponse, Status>>>,
}

impl State {
    /// As a broker does: by offset.
    pub fn keep_log(&mut self, chunk: LogChunk) {
        let task_id = chunk.lease.unwrap().task_id;
        if !self.log_offsets.entry(task_id.clone()).or_default().insert(chunk.offset) {
            return;
        }
        let end = self.log_ends.entry(task_id.clone()).or_default();
        self.log_overlaps += usize::from(chunk.offset < *end);
        *end = chunk.offset + chunk.data.len() as i64;
        self.logs.entry((task_id, chunk.stream)).or_default().extend_from_slice(&chunk.data);
    }
}

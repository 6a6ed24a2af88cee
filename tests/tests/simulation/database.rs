//! The database, in memory: all that is durable. It outlives every broker, as a real one does.
//!
//! A row is read, an event is applied to what was read, and the outcome is written if the row still
//! is as it was: all as in the store, but that others may come in between by the brokers' pauses
//! only. What an event makes of a row is asked of `core::transition`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence},
    id::{ShardId, TaskId, TypeName},
    invariant::check_step,
    lease::{Suspect, is_out_of_force},
    state::TaskState,
    task::{Content, FullTask, ResultChange, Task},
    task_type::TaskType,
    transition::Transition,
};

use super::{
    bug::Bug,
    history::{Change, Fact, History},
    plan::Plan,
};

/// When plays begin, in Unix milliseconds.
const EPOCH_MS: i64 = 1_800_000_000_000;
pub const TASK_TYPE: &str = "work";

#[derive(Clone, Debug)]
pub struct Worker {
    pub incarnation: String,
    pub session_id: i64,
    pub former_session_id: Option<i64>,
    seen_ms: i64,
}

#[derive(Default)]
struct Tables {
    now_ms: i64,
    is_away: bool,
    rows: BTreeMap<TaskId, FullTask>,
    requests: BTreeMap<String, TaskId>,
    workers: BTreeMap<String, Worker>,
    /// By session and acquire id: the tasks and their attempts.
    acquires: BTreeMap<(i64, String), Vec<(TaskId, i32)>>,
    beats: BTreeMap<String, i64>,
    last_session_id: i64,
}

/// What is to be written: the row as it was read, what came, and what it makes of it.
pub struct Write {
    pub before: Task,
    pub event: Event,
    pub step: Transition,
    /// The lease that the worker named.
    pub asked: Option<Fence>,
}

pub struct Database {
    tables: Mutex<Tables>,
    history: Arc<History>,
    pub bug: Option<Bug>,
    task_type: TaskType,
    /// Until then answers get lost.
    shaky_until_ms: i64,
}

impl Database {
    pub fn new(history: Arc<History>, bug: Option<Bug>, plan: &Plan) -> Self {
        let name = TypeName::new(TASK_TYPE).unwrap();
        let mut task_type = TaskType::with_defaults(name, 0);
        task_type.max_crashes = plan.max_crashes;
        (task_type.retry.interval_ms, task_type.retry.max_interval_ms) = (200, 2_000);
        let shaky_until_ms = EPOCH_MS + plan.heal_ms as i64;
        Self { tables: Mutex::default(), history, bug, task_type, shaky_until_ms }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        // Hosts take turns within a tick of the simulation; the database has one clock.
        let elapsed = turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as i64);
        tables.now_ms = tables.now_ms.max(EPOCH_MS + elapsed);
        tables
    }

    pub fn now_ms(&self) -> i64 {
        self.tables().now_ms
    }

    /// Since the play began.
    pub fn note(&self, fact: Fact) {
        let at_ms = self.now_ms() - EPOCH_MS;
        self.history.note(at_ms, fact);
    }

    /// Whether the answers to COMMITs may get lost.
    pub fn is_shaky(&self) -> bool {
        self.now_ms() < self.shaky_until_ms
    }

    pub fn is_away(&self) -> bool {
        self.tables().is_away
    }

    pub fn set_away(&self, is_away: bool) {
        self.tables().is_away = is_away;
        self.note(Fact::DatabaseIsAway(is_away));
    }

    /// Makes the task of a request, or finds it.
    pub fn create(&self, request: &str, payload: Content) -> TaskId {
        let mut tables = self.tables();
        if let Some(known) = tables.requests.get(request) {
            return known.clone();
        }
        let shard = ShardId { task_type: self.task_type.name.clone(), number: 1 };
        let id = TaskId { shard, key: tables.rows.len() as i64 + 1 };
        let mut new = NewTask::new(self.task_type.name.clone(), "someone");
        new.payload = payload;
        let full = new.into_task(&self.task_type, id.clone(), tables.now_ms);
        tables.rows.insert(id.clone(), full);
        if self.bug != Some(Bug::ForgetsRequests) {
            tables.requests.insert(request.to_owned(), id.clone());
        }
        drop(tables);
        self.note(Fact::Made { request: request.to_owned(), task: id.to_string() });
        id
    }

    pub fn read(&self, id: &TaskId) -> Option<FullTask> {
        self.tables().rows.get(id).cloned()
    }

    pub fn rows(&self) -> Vec<FullTask> {
        self.tables().rows.values().cloned().collect()
    }

    /// Writes what still is as it was read, and tells which; all in one transaction.
    pub fn write(&self, writes: Vec<Write>) -> Vec<bool> {
        let mut tables = self.tables();
        writes.into_iter().map(|write| self.write_one(&mut tables, write)).collect()
    }

    fn write_one(&self, tables: &mut Tables, write: Write) -> bool {
        let Write { before, event, step, asked } = write;
        let at_ms = tables.now_ms - EPOCH_MS;
        let Some(row) = tables.rows.get_mut(&before.id) else { return false };
        let is_same = row.task.revision == before.revision;
        if !is_same && self.bug != Some(Bug::WritesWithoutCompare) {
            return false;
        }
        // By the row as it stands, which is another one than was read where nobody compares.
        let broken = check_step(&row.task, &event, &step).err();
        let before = std::mem::replace(&mut row.task, step.task.clone());
        let text = |content: &Content| String::from_utf8_lossy(&content.data).into_owned();
        let mut change = Change {
            event: event.name(),
            asked,
            before,
            after: step.task,
            context: step.context.as_ref().map(text),
            result: None,
            broken,
        };
        if let Some(context) = step.context {
            row.body.context = context;
        }
        if let Some(result) = step.result {
            row.body.result = match result {
                ResultChange::Keep(content) => Some(content),
                ResultChange::Clear | ResultChange::Expire => None,
            };
            change.result = row.body.result.as_ref().map(text);
        }
        self.history.note(at_ms, Fact::Changed(Box::new(change)));
        true
    }

    /// The same incarnation keeps its session.
    pub fn register(&self, worker_id: &str, incarnation: &str) -> Worker {
        let mut tables = self.tables();
        let now_ms = tables.now_ms;
        let former = tables.workers.get(worker_id).cloned();
        if let Some(known) = former.as_ref().filter(|known| known.incarnation == incarnation) {
            return known.clone();
        }
        tables.last_session_id += 1;
        let worker = Worker {
            incarnation: incarnation.to_owned(),
            session_id: tables.last_session_id,
            former_session_id: former.map(|former| former.session_id),
            seen_ms: now_ms,
        };
        tables.workers.insert(worker_id.to_owned(), worker.clone());
        worker
    }

    /// The worker whose session that is.
    pub fn worker_of(&self, session_id: i64) -> Option<String> {
        let tables = self.tables();
        let found = tables.workers.iter().find(|(_, worker)| worker.session_id == session_id);
        found.map(|(id, _)| id.clone())
    }

    pub fn touch(&self, worker_id: &str) {
        let mut tables = self.tables();
        let now_ms = tables.now_ms;
        if let Some(worker) = tables.workers.get_mut(worker_id) {
            worker.seen_ms = now_ms;
        }
    }

    pub fn end_session(&self, worker_id: &str) {
        self.tables().workers.remove(worker_id);
    }

    /// Forgets who was not heard of for that long.
    pub fn forget_workers(&self, silent_ms: i64) {
        let mut tables = self.tables();
        let from_ms = tables.now_ms - silent_ms;
        tables.workers.retain(|_, worker| worker.seen_ms >= from_ms);
    }

    /// What a session holds.
    pub fn held(&self, session_id: i64) -> Vec<Task> {
        let tables = self.tables();
        let rows = tables.rows.values().map(|row| &row.task);
        let held =
            rows.filter(|task| task.state.is_leased() && task.holder.session_id == session_id);
        held.cloned().collect()
    }

    /// The tasks in a state, in the order in which they are taken.
    pub fn queue(&self, state: TaskState) -> Vec<Task> {
        let tables = self.tables();
        let rows = tables.rows.values().map(|row| &row.task);
        let mut queue: Vec<Task> = rows.filter(|task| task.state == state).cloned().collect();
        queue.sort_by_key(|task| (task.order_time_ms, task.id.key));
        queue
    }

    /// What the acquire got that it still holds; `None` if it has got nothing yet.
    pub fn acquired(&self, session_id: i64, acquire_id: &str) -> Option<Vec<FullTask>> {
        let tables = self.tables();
        let leases = tables.acquires.get(&(session_id, acquire_id.to_owned()))?;
        let rows = leases.iter().filter_map(|(id, attempt)| {
            let row = tables.rows.get(id)?;
            let holds = row.task.state.is_leased()
                && row.task.attempt == *attempt
                && row.task.holder.session_id == session_id;
            holds.then(|| row.clone())
        });
        Some(rows.collect())
    }

    /// Writes claims and whose they are in one transaction; nothing if the acquire has got
    /// something meanwhile. Tells how many were written.
    pub fn claim(&self, session_id: i64, acquire_id: &str, claims: Vec<Vec<Write>>) -> usize {
        let mut tables = self.tables();
        let key = (session_id, acquire_id.to_owned());
        if tables.acquires.contains_key(&key) {
            return 0;
        }
        let mut got = Vec::new();
        for writes in claims {
            let Some(last) = writes.last().map(|write| write.step.task.clone()) else { continue };
            let mut written = writes.into_iter().map(|write| self.write_one(&mut tables, write));
            // After the claim nothing can come in between.
            if written.next() == Some(true) {
                written.for_each(drop);
                got.push((last.id, last.attempt));
            }
        }
        let count = got.len();
        if count > 0 {
            tables.acquires.insert(key, got);
        }
        count
    }

    /// Leases that are in force no more.
    pub fn suspects(&self) -> Vec<Suspect> {
        let tables = self.tables();
        let now_ms = tables.now_ms;
        let rows = tables.rows.values().map(|row| &row.task);
        let out = rows
            .filter(|task| task.state.is_leased() && is_out_of_force(task.order_time_ms, now_ms));
        let suspect = |task: &Task| Suspect {
            id: task.id.clone(),
            attempt: task.attempt,
            beats: task.holder.beats,
            started: task.start_time_ms.is_some() && self.bug != Some(Bug::LooksOnce),
        };
        out.map(suspect).collect()
    }

    /// A broker lives.
    pub fn beat(&self, broker: &str) {
        *self.tables().beats.entry(broker.to_owned()).or_default() += 1;
    }

    pub fn beats(&self) -> Vec<(String, i64)> {
        self.tables().beats.clone().into_iter().collect()
    }
}

//! What must be in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use asyncflow_core::{
    create::NewTask,
    event::Event,
    id::{TaskId, TypeName},
    state::TaskState,
    task::{Attempt, ResultChange, Task, TaskBody},
    task_type::TaskType,
    transition::{Refusal, transition},
};
use asyncflow_store::Change;

pub const TYPES: [&str; 2] = ["work", "other"];
pub const WORKERS: usize = 3;

pub fn type_name(name: &str) -> TypeName {
    TypeName::new(name).unwrap()
}

/// A task with everything that belongs to it.
#[derive(Clone)]
pub struct Row {
    pub task: Task,
    pub body: TaskBody,
    pub attempts: Vec<Attempt>,
}

/// A worker that is registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    pub incarnation: usize,
    pub session_id: i64,
    pub former_session_id: Option<i64>,
}

/// By user and request id: what was asked for, and the task of it.
type Requests = BTreeMap<(String, String), (NewTask, TaskId)>;
/// By session and acquire id: the tasks and their attempts.
type Acquires = BTreeMap<(i64, String), Vec<(TaskId, i32)>>;

#[derive(Default)]
pub struct Model {
    pub rows: BTreeMap<TaskId, Row>,
    /// Every task that there ever was, in the order in which they were made.
    pub made: Vec<TaskId>,
    pub requests: Requests,
    pub acquires: Acquires,
    pub workers: BTreeMap<usize, Worker>,
    /// All sessions that there ever were.
    pub sessions: Vec<i64>,
    pub paused: BTreeSet<TypeName>,
    pub shards: BTreeMap<TypeName, i32>,
    /// What the last command must have left in the change log.
    pub changes: Vec<Change>,
}

/// What a worker is called.
pub fn worker_id(worker: usize) -> String {
    format!("worker-{worker}")
}

pub fn task_type(name: &TypeName) -> Arc<TaskType> {
    let mut task_type = TaskType::with_defaults(name.clone(), 0);
    (task_type.retry.max_retries, task_type.max_crashes) = (2, 2);
    (task_type.retry.interval_ms, task_type.retry.max_interval_ms) = (1, 5);
    Arc::new(task_type)
}

impl Model {
    fn change(&mut self, task: &Task, from: Option<TaskState>, to: Option<TaskState>) {
        let (task_id, user) = (task.id.clone(), task.user.clone());
        let (attempt, revision) = (task.attempt, task.revision);
        self.changes.push(Change { task_id, user, from, to, attempt, revision });
    }

    /// What this request was for at first, and the task that it made.
    pub fn known(&self, new: &NewTask) -> Option<&(NewTask, TaskId)> {
        self.requests.get(&(new.user.clone(), new.request_id.clone()?))
    }

    /// A task was made with this id at that time.
    pub fn create(&mut self, new: &NewTask, id: &TaskId, now_ms: i64) -> Task {
        let full = new.clone().into_task(&task_type(&new.task_type), id.clone(), now_ms);
        let (task, body) = (full.task, full.body);
        self.change(&task, None, Some(task.state));
        let row = Row { task: task.clone(), body, attempts: Vec::new() };
        assert!(self.rows.insert(id.clone(), row).is_none(), "{id} was made twice");
        assert!(!self.made.contains(id), "{id} was made again");
        self.made.push(id.clone());
        task
    }

    /// An event came at that time. A refusal leaves everything as it is.
    pub fn apply(&mut self, id: &TaskId, event: &Event, now_ms: i64) -> Result<Task, Refusal> {
        let row = self.rows.get_mut(id).unwrap();
        let from = row.task.state;
        let step = transition(&row.task, event, now_ms)?;
        row.task = step.task;
        row.body.context = step.context.unwrap_or(std::mem::take(&mut row.body.context));
        row.body.labels = step.labels.unwrap_or(std::mem::take(&mut row.body.labels));
        row.attempts.extend(step.ended);
        if let Some(change) = step.result {
            row.body.result_expired = change == ResultChange::Expire
                && (row.body.result.is_some() || row.body.result_expired);
            row.body.result = match change {
                ResultChange::Keep(content) => Some(content),
                ResultChange::Clear | ResultChange::Expire => None,
            };
        }
        let task = row.task.clone();
        // That a lease was renewed is no news; everything else is.
        if !matches!(event, Event::Heartbeat { .. }) {
            self.change(&task, Some(from), Some(task.state));
        }
        Ok(task)
    }

    /// A task was deleted with everything.
    pub fn delete(&mut self, id: &TaskId) {
        let row = self.rows.remove(id).unwrap();
        self.change(&row.task, Some(row.task.state), None);
    }

    /// The tasks of a type in a state, in the order in which they are taken: older shards first.
    pub fn queue(&self, task_type: &TypeName, state: TaskState) -> Vec<&Task> {
        let of_state = |task: &&Task| task.id.task_type() == task_type && task.state == state;
        let mut queue: Vec<&Task> =
            self.rows.values().map(|row| &row.task).filter(of_state).collect();
        queue.sort_by_key(|task| (task.id.shard.number, task.order_time_ms, task.id.key));
        queue
    }

    /// What a session holds.
    pub fn held(&self, session_id: i64) -> Vec<&Task> {
        let tasks = self.rows.values().map(|row| &row.task);
        tasks
            .filter(|task| task.state.is_leased() && task.holder.session_id == session_id)
            .collect()
    }
}

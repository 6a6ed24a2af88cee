//! How a task begins.

use serde::{Deserialize, Serialize};

use crate::{
    id::{TaskId, TypeName},
    order::pending_order_ms,
    resources::Resources,
    retry::RetryPatch,
    state::TaskState,
    task::{Content, FullTask, Holder, Labels, Progress, Task, TaskBody, Ties},
    task_type::TaskType,
    validate::{at::At, resources::gpu_terms},
    violation::Violations,
};

/// A checked request for a task; what it leaves open comes from the task type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    pub task_type: TypeName,
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Option<i32>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload: Content,
    /// What it starts from; empty for most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub context: Content,
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPatch,
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_running_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_before_ms: Option<i64>,
    /// An expression over its result that must hold; empty for most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub success_if: String,
    /// What it needs on its host; what it leaves out comes from the type.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Option<Resources>,
    /// Other tasks that must have ended before its first attempt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<Predecessor>,
    /// Signals that must have come before its first attempt: those of the workflow that it is a
    /// part of, or its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signals: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub callbacks: Callbacks,
    /// Unique per user; `None` = the client does not mind duplicates.
    #[serde(default, skip_serializing_if = "is_default")]
    pub request_id: Option<String>,
    /// Of the call that creates it; 32 hexadecimal digits, or empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trace_id: String,
}

/// A task that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    pub id: TaskId,
    /// It need not succeed: any end will do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub any_end: bool,
}

/// What is made when a task ends, with its result or its failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Callbacks {
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_success: Vec<NewTask>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: Vec<NewTask>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_cancel: Vec<NewTask>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl NewTask {
    /// A task of a type for somebody, with nothing else asked for.
    pub fn new(task_type: TypeName, user: &str) -> Self {
        Self {
            task_type,
            user: user.to_owned(),
            name: String::new(),
            priority: None,
            labels: Labels::new(),
            payload: Content::default(),
            context: Content::default(),
            retry: RetryPatch::default(),
            max_running_ms: None,
            not_before_ms: None,
            success_if: String::new(),
            resources: None,
            after: Vec::new(),
            signals: Vec::new(),
            callbacks: Callbacks::default(),
            request_id: None,
            trace_id: String::new(),
        }
    }

    /// What depends on the task type: the bounds, and whether somebody asks for the GPUs of which
    /// the task says what they must be. `at` is the place of the task in the request.
    pub fn check_against(&self, task_type: &TaskType, at: At<'_>, violations: &mut Violations) {
        self.check_bounds(task_type, at, violations);
        let Some(own) = &self.resources else { return };
        let merged = Resources::of_task(Some(own), task_type.resources.as_ref());
        let uses_gpus = merged.is_some_and(|needs| needs.uses_gpus());
        let or_where = format!(", neither here nor by the type {}", task_type.name);
        gpu_terms(own, uses_gpus, &or_where, at.field("resources"), violations);
    }

    /// The bounds alone: all that a task has to keep to that was accepted before, when its type may
    /// have been another.
    pub fn check_bounds(&self, task_type: &TaskType, at: At<'_>, violations: &mut Violations) {
        let bytes = self.context.data.len();
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > i64::from(task_type.max_context_bytes)) {
            let what = format!(
                "{bytes} bytes are too many; at most {} bytes for tasks of type {}",
                task_type.max_context_bytes, task_type.name
            );
            violations.add(at.field("context").field("data"), what);
        }
    }

    /// Whether it is claimed as soon as its time has come, and nothing follows from its end.
    pub fn is_plain(&self) -> bool {
        !self.has_conditions() && self.callbacks == Callbacks::default()
    }

    /// Whether it waits for more than a time.
    pub fn has_conditions(&self) -> bool {
        !self.after.is_empty() || !self.signals.is_empty()
    }

    /// The task as it is inserted: PENDING, or SCHEDULED when it may not be claimed yet.
    pub fn into_task(self, task_type: &TaskType, id: TaskId, now_ms: i64) -> FullTask {
        let priority = self.priority.unwrap_or(task_type.priority);
        let (state, order_time_ms) = match self.not_before_ms {
            Some(due_ms) if due_ms > now_ms => (TaskState::Scheduled, due_ms),
            _ => (TaskState::Pending, pending_order_ms(now_ms, priority)),
        };
        let base = task_type.resources.as_ref();
        let resources = Resources::of_task(self.resources.as_ref(), base);
        let task = Task {
            id,
            user: self.user,
            name: self.name,
            trace_id: self.trace_id,
            state,
            order_time_ms,
            priority,
            revision: 1,
            run: 0,
            attempt: 0,
            failures: 0,
            crashes: 0,
            max_crashes: task_type.max_crashes,
            retry: task_type.retry.patched(&self.retry),
            max_running_ms: self.max_running_ms.unwrap_or(task_type.max_running_ms),
            not_before_ms: self.not_before_ms,
            paused_from: None,
            stage: String::new(),
            context_version: 0,
            progress: Progress::default(),
            failure: None,
            holder: Holder::default(),
            create_time_ms: now_ms,
            update_time_ms: now_ms,
            claim_time_ms: None,
            start_time_ms: None,
            finish_time_ms: None,
            member: None,
            ties: Ties::default(),
            success_if: self.success_if,
            resources,
        };
        let body = TaskBody {
            payload: self.payload,
            context: self.context,
            result: None,
            result_expired: false,
            labels: self.labels,
        };
        FullTask { task, body }
    }
}

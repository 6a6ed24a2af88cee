//! Who runs which task.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    WorkerOptions,
    attempt::AttemptHandle,
    handler::{Handler, HandlerExecutor},
    logs::LogKeeper,
    outcome::Outcome,
};
use crate::v1::{FailureReason, Lease, LeasedTask, Task, TaskState};

/// "Every type" in a registration.
pub const EVERY_TYPE: &str = "*";
/// A task that is no command came to a worker which takes only commands of its type: after so long
/// it may find another one.
const NO_COMMAND_PAUSE: Duration = Duration::from_secs(10);

/// Runs attempts of any kind; handlers are wrapped into one.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Runs the attempt to its end. It has to follow [`AttemptHandle::should_stop`] in bounded
    /// time.
    async fn execute(&self, attempt: AttemptHandle) -> Outcome;

    /// Resolves when attempts can be started; before that no tasks are taken. Cancel safe.
    async fn ready(&self) {}

    /// Whether it stops attempts by itself when their `max_running_time` is over.
    fn keeps_time(&self) -> bool {
        false
    }

    /// Attempts that a former process of this worker left running, or ended and not settled: they
    /// are offered to the broker, and given to [`Self::adopt`]. Called once, at the start.
    fn adoptable(&self) -> Vec<LeasedTask> {
        Vec::new()
    }

    /// Goes on with one of [`Self::adoptable`], as [`Self::execute`] would have. If its lease is
    /// lost by then, it only has to be ended.
    async fn adopt(&self, attempt: AttemptHandle) -> Outcome {
        self.execute(attempt).await
    }

    /// Remembers what of an attempt's log was sent; `None`: nobody goes on with it after this
    /// process.
    fn log_keeper(&self, _lease: &Lease) -> Option<Box<dyn LogKeeper>> {
        None
    }

    /// How the attempt ended is in the journal, or nobody wants to know: it must not be adopted any
    /// more.
    fn recorded(&self, _lease: &Lease) {}

    /// The task has reached a terminal state with this attempt, and the broker has confirmed it.
    async fn finished(&self, _attempt: &AttemptHandle, _outcome: &Outcome, _state: TaskState) {}
}

/// What a worker can run: handlers by task type, and perhaps commands.
#[derive(Clone, Default)]
pub struct Handlers {
    by_type: HashMap<String, Arc<dyn Executor>>,
    command: Option<Arc<dyn Executor>>,
}

impl Handlers {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs tasks of this type by `handler`.
    #[must_use]
    pub fn handler<H: Handler>(self, task_type: impl Into<String>, handler: H) -> Self {
        self.executor(task_type, HandlerExecutor::new(handler))
    }

    /// Runs tasks of this type by `executor`.
    #[must_use]
    pub fn executor(mut self, task_type: impl Into<String>, executor: impl Executor) -> Self {
        self.by_type.insert(task_type.into(), Arc::new(executor));
        self
    }

    /// Runs tasks that carry a command, whatever their type.
    #[must_use]
    pub fn command(mut self, executor: Arc<dyn Executor>) -> Self {
        self.command = Some(executor);
        self
    }

    /// The task types that have a handler, sorted.
    pub fn task_types(&self) -> Vec<String> {
        let mut types: Vec<_> = self.by_type.keys().cloned().collect();
        types.sort();
        types
    }

    /// Whether commands are run.
    pub(super) fn take_commands(&self) -> bool {
        self.command.is_some()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<dyn Executor>> {
        self.by_type.values().chain(&self.command)
    }

    /// Who runs this task, which came to a worker with these options.
    pub(super) fn route(
        &self,
        task: &Task,
        options: &WorkerOptions,
    ) -> Result<Arc<dyn Executor>, Outcome> {
        let found = match task.command {
            Some(_) => self.command.as_ref(),
            None => self.by_type.get(&task.task_type),
        };
        found.cloned().ok_or_else(|| {
            let what = if task.command.is_some() { "commands" } else { task.task_type.as_str() };
            let message = format!("this worker has no handler for {what}");
            let mut named = options.task_types.iter();
            let is_named = named.any(|name| *name == task.task_type || name == EVERY_TYPE);
            if is_named || !options.takes_commands {
                return Outcome::failed(FailureReason::NoHandler, message);
            }
            let mut outcome = Outcome::released(FailureReason::NoHandler, message);
            if let Outcome::Released { delay, .. } = &mut outcome {
                *delay = Some(NO_COMMAND_PAUSE);
            }
            outcome
        })
    }
}

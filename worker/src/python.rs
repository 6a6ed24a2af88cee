//! Python tasks: functions and classes that the SDK's `@task` marks, found by their modules.
//!
//! ```text
//!  at the start   python -m asyncflow.task list MODULE… ─▶ tasks ─▶ their types, at a broker
//!  an attempt     payload, no command ─▶ the command `python -m asyncflow.task run MODULE…`
//! ```
//!
//! From there on it is a command as any other: shim, log, events, stop, adoption.
//!
//! A task that says so (`warm=True`) runs in a process of a pool instead, which has imported the
//! modules already, and ends with its worker.

mod config;
mod defaults;
mod executor;
mod interpreter;
mod list;
mod pool;
mod task_types;
mod warm;

use std::sync::Arc;

use asyncflow_sdk::{
    ChannelOptions,
    worker::{EVERY_TYPE, Handlers},
};

use crate::{
    WorkerConfig,
    command::{CommandExecutor, MARK_VARIABLE},
    data_dir::DataDir,
};
pub use config::PythonConfig;
use executor::PythonExecutor;
use interpreter::Interpreter;
pub use list::ListError;
use list::Listed;
pub use pool::Place;
use pool::Pool;
pub use warm::Job;

/// The Python tasks of this worker; none, unless modules are configured.
pub struct Python {
    interpreter: Arc<Interpreter>,
    tasks: Vec<Listed>,
    /// If there are tasks for it.
    pool: Option<Arc<Pool>>,
}

impl Python {
    /// Asks the modules which tasks they have. With attempts that wait to be gone on with it does
    /// not wait for slow modules: then the answer of the last start is taken, which is kept.
    ///
    /// # Errors
    /// [`ListError`], for people.
    pub async fn open(
        config: &WorkerConfig,
        data_dir: &DataDir,
        are_waiting: bool,
    ) -> Result<Self, ListError> {
        let interpreter = Arc::new(Interpreter::of(&config.python));
        if config.python.modules.is_empty() {
            return Ok(Self { interpreter, tasks: Vec::new(), pool: None });
        }
        let allowed = &config.command.environment_allowed;
        let limit = config.python.import_time_max();
        let root = data_dir.root();
        let tasks = list::tasks(&interpreter, allowed, limit, root, are_waiting).await?;
        for task in &tasks {
            tracing::info!(task_type = task.task_type, function = task.function, "Python task");
        }
        let mut variables = interpreter.variables(allowed).map_err(ListError::Environment)?;
        variables.insert(MARK_VARIABLE.to_owned(), data_dir.mark().to_owned());
        let size = if config.python.pool == 0 { config.slots() } else { config.python.pool };
        let tasks_max = config.python.tasks_per_process;
        let pool = || Pool::new(interpreter.clone(), variables, size, tasks_max, limit);
        let pool = tasks.iter().any(|task| task.warm).then(pool).map(Arc::new);
        Ok(Self { interpreter, tasks, pool })
    }

    /// With those of the Python tasks, which are run as commands.
    pub fn add_to(&self, handlers: Handlers, commands: &Arc<CommandExecutor>) -> Handlers {
        self.tasks.iter().fold(handlers, |handlers, task| {
            let executor = PythonExecutor {
                commands: commands.clone(),
                interpreter: self.interpreter.clone(),
                pool: self.pool.clone().filter(|_| task.warm),
            };
            handlers.executor(task.task_type.as_str(), executor)
        })
    }

    /// The types that the worker takes by name: those that it is told to, and these. None: those
    /// that it has handlers for, which these are.
    pub fn with_named(&self, told: &[String]) -> Vec<String> {
        let mut named: Vec<String> =
            told.iter().filter(|name| *name != EVERY_TYPE).cloned().collect();
        if !named.is_empty() {
            named.extend(self.tasks.iter().map(|task| task.task_type.clone()));
            named.sort();
            named.dedup();
        }
        named
    }

    /// Makes the task types that are missing, and then waits for ever: a part of the worker's life.
    /// Cancel safe.
    pub async fn make_types(&self, brokers: &[ChannelOptions]) {
        task_types::make(brokers, self.tasks.clone()).await;
        std::future::pending().await
    }
}

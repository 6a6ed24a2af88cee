//! Python tasks: functions and classes that the SDK's `@task` marks, found by their modules.
//!
//! ```text
//!  at the start   python -m asyncflow.task list MODULE… ─▶ tasks ─▶ their types, at a broker
//!  an attempt     payload, no command ─▶ the command `python -m asyncflow.task run MODULE…`
//! ```
//!
//! From there on it is a command as any other: shim, log, events, stop, adoption.

mod config;
mod defaults;
mod executor;
mod interpreter;
mod list;
mod task_types;

use std::{path::Path, sync::Arc};

use asyncflow_sdk::{
    ChannelOptions,
    worker::{EVERY_TYPE, Handlers},
};

use crate::{WorkerConfig, command::CommandExecutor};
pub use config::PythonConfig;
use executor::PythonExecutor;
use interpreter::Interpreter;
pub use list::ListError;
use list::Listed;

/// The Python tasks of this worker; none, unless modules are configured.
pub struct Python {
    interpreter: Arc<Interpreter>,
    tasks: Vec<Listed>,
}

impl Python {
    /// Asks the modules which tasks they have. With attempts that wait to be gone on with it does
    /// not wait for slow modules: then the answer of the last start is taken, which `root` keeps.
    ///
    /// # Errors
    /// [`ListError`], for people.
    pub async fn open(
        config: &WorkerConfig,
        root: &Path,
        are_waiting: bool,
    ) -> Result<Self, ListError> {
        let interpreter = Arc::new(Interpreter::of(&config.python));
        if config.python.modules.is_empty() {
            return Ok(Self { interpreter, tasks: Vec::new() });
        }
        let allowed = &config.command.environment_allowed;
        let limit = config.python.import_time_max();
        let tasks = list::tasks(&interpreter, allowed, limit, root, are_waiting).await?;
        for task in &tasks {
            tracing::info!(task_type = task.task_type, function = task.function, "Python task");
        }
        Ok(Self { interpreter, tasks })
    }

    /// With those of the Python tasks, which are run as commands.
    pub fn add_to(&self, handlers: Handlers, commands: &Arc<CommandExecutor>) -> Handlers {
        self.tasks.iter().fold(handlers, |handlers, task| {
            let executor = PythonExecutor::new(commands.clone(), self.interpreter.clone());
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

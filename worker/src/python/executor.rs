//! Attempts at Python tasks, as commands.

use std::sync::Arc;

use async_trait::async_trait;
use asyncflow_sdk::{
    v1::Lease,
    worker::{AttemptHandle, Executor, LogKeeper, Outcome},
};

use super::interpreter::Interpreter;
use crate::command::CommandExecutor;

/// Runs tasks of one type. What a former process left of them has a command by now: it is routed to
/// the executor of commands, also in a worker without Python.
pub struct PythonExecutor {
    commands: Arc<CommandExecutor>,
    interpreter: Arc<Interpreter>,
}

impl PythonExecutor {
    /// Of any type; the program looks at the attempt's.
    pub fn new(commands: Arc<CommandExecutor>, interpreter: Arc<Interpreter>) -> Self {
        Self { commands, interpreter }
    }
}

#[async_trait]
impl Executor for PythonExecutor {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        self.commands.execute_as(attempt, self.interpreter.command("run")).await
    }

    fn keeps_time(&self) -> bool {
        self.commands.keeps_time()
    }

    fn log_keeper(&self, lease: &Lease) -> Option<Box<dyn LogKeeper>> {
        self.commands.log_keeper(lease)
    }

    fn recorded(&self, lease: &Lease) {
        self.commands.recorded(lease);
    }
}

//! Attempts at Python tasks, as commands.

use std::sync::Arc;

use async_trait::async_trait;
use asyncflow_sdk::{
    v1::Lease,
    worker::{AttemptHandle, Executor, LogKeeper, Outcome},
};

use super::{
    interpreter::Interpreter,
    pool::{NoPlace, Pool},
};
use crate::command::CommandExecutor;

/// Runs tasks of one type. What a former process left of them has a command by now: it is routed to
/// the executor of commands, also in a worker without Python.
pub struct PythonExecutor {
    /// Runs them.
    pub commands: Arc<CommandExecutor>,
    /// As which commands.
    pub interpreter: Arc<Interpreter>,
    /// For tasks that may share a process.
    pub pool: Option<Arc<Pool>>,
}

#[async_trait]
impl Executor for PythonExecutor {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        let command = self.interpreter.command("run");
        let shares = self.pool.as_ref().filter(|_| self.commands.may_share_process(&attempt));
        if let Some(pool) = shares {
            match pool.place(&attempt).await {
                Ok(place) => return self.commands.execute_in(place, attempt, command).await,
                Err(NoPlace::Told(told)) => return Outcome::stopped(told),
                Err(NoPlace::Broken(why)) => {
                    // What is wrong is told by a process of its own, in the task's log.
                    tracing::warn!(why, "no Python process for a task, it gets one of its own");
                }
            }
        }
        self.commands.execute_as(attempt, command).await
    }

    /// Shim and pool do.
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

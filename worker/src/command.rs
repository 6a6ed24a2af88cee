//! Tasks that carry a command: one directory, one process tree and one set of watchers per attempt.
//!
//! ```text
//!  prepare dir ─▶ start process ─┬─ supervise: stop file, TERM, grace, KILL, sweep ─▶ exit
//!                                ├─ stdout.log, stderr.log ─▶ task log
//!                                └─ events.jsonl ─▶ stage, context, progress, metrics, result
//!                                            (all read to the end before the attempt is settled)
//! ```

mod directory;
mod exit;
mod supervise;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use asyncflow_sdk::{
    v1::{FailureReason, LogStream},
    worker::{AttemptHandle, Executor, Outcome},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attempt_service::{AttemptDesk, Registered},
    events,
    file_watch::FileWatch,
    log_tail,
    process::{EnvVariable, Launch, Process, ProcessRecord},
};
pub use directory::{AttemptDir, MARK_VARIABLE, TOKEN_VARIABLE};

/// When the process has ended, the rest of its log may take this long to be taken over.
const LOG_REST_MAX: Duration = Duration::from_secs(5);

/// What all attempts of a worker share.
pub struct CommandExecutor {
    /// Where directories of attempts are made.
    pub attempts: std::path::PathBuf,
    /// Marks all processes of this worker.
    pub mark: String,
    /// Variables of the worker that tasks see.
    pub environment_allowed: Vec<String>,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// Unsent log of one stream that is still sent.
    pub log_backlog_max_bytes: u64,
    /// Serves AttemptService.
    pub desk: Arc<AttemptDesk>,
    /// Wakes readers of files.
    pub watch: FileWatch,
}

#[async_trait]
impl Executor for CommandExecutor {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        let registered = self.desk.register(attempt.clone());
        let dir = match AttemptDir::make(&self.attempts, &attempt, &self.mark) {
            Ok(dir) => dir,
            Err(error) => {
                let message = format!("the attempt's directory cannot be made: {error}");
                return Outcome::failed(FailureReason::Error, message);
            }
        };
        let process = match self.launch(&attempt, &registered, &dir) {
            Ok(process) => process,
            Err(outcome) => {
                if let Outcome::Failed { message, .. } = &outcome {
                    attempt.log_system(message).await;
                }
                return outcome;
            }
        };
        metrics::gauge!("asyncflow_worker_processes").increment(1.0);
        let outcome = self.follow(&attempt, &registered, &dir, process).await;
        metrics::gauge!("asyncflow_worker_processes").decrement(1.0);
        outcome
    }
}

impl CommandExecutor {
    fn launch(
        &self,
        attempt: &AttemptHandle,
        registered: &Registered,
        dir: &AttemptDir,
    ) -> Result<Process, Outcome> {
        let command = attempt.task().command.clone().unwrap_or_default();
        let broken = |error: std::io::Error| {
            Outcome::failed(FailureReason::Error, format!("log files cannot be made: {error}"))
        };
        let working_directory = match command.working_directory.as_str() {
            "" => dir.work_dir(),
            path => path.into(),
        };
        let environment =
            dir.environment(attempt, &self.environment_allowed, &command.environment, registered);
        let launch = Launch {
            program: command.program,
            args: command.args,
            working_directory,
            environment,
            stdout: dir.open_log("stdout.log").map_err(broken)?,
            stderr: dir.open_log("stderr.log").map_err(broken)?,
        };
        let process = Process::start(launch).map_err(|error| exit::not_runnable(&error))?;
        let record = ProcessRecord::of(process.pid()).map(|record| record.write(&dir.record()));
        if let Some(Err(error)) = record {
            tracing::warn!(%error, "process record not written, the environment mark remains");
        }
        Ok(process)
    }

    /// Watches the process to its end, and takes over all that it has written.
    async fn follow(
        &self,
        attempt: &AttemptHandle,
        registered: &Registered,
        dir: &AttemptDir,
        process: Process,
    ) -> Outcome {
        let ended = CancellationToken::new();
        let changes = self.watch.watch(dir.path());
        let variable = EnvVariable::new(TOKEN_VARIABLE, registered.token());
        let supervising = async {
            let end = supervise::to_the_end(process, attempt, dir, self.stop_grace, variable).await;
            ended.cancel();
            end
        };
        let tail = |name: &str, stream: LogStream| log_tail::Tail {
            path: dir.path().join(name),
            stream,
            backlog_max_bytes: self.log_backlog_max_bytes,
            changes: changes.receiver(),
            ended: ended.clone(),
        };
        let logs = async {
            let both = async {
                tokio::join!(
                    tail("stdout.log", LogStream::Stdout).run(attempt),
                    tail("stderr.log", LogStream::Stderr).run(attempt),
                )
            };
            let too_late = async {
                ended.cancelled().await;
                tokio::time::sleep(LOG_REST_MAX).await;
            };
            tokio::select! {
                _ = both => {}
                () = too_late => tracing::warn!("the rest of a log was not sent"),
            }
        };
        let reading =
            events::follow(dir.events(), changes.receiver(), ended.clone(), attempt, registered);
        let (end, (), ()) = tokio::join!(supervising, logs, reading);
        let _ = std::fs::remove_file(dir.record());
        let told = end.told;
        let outcome = exit::outcome(end, registered.take_result(), registered.take_wait_for());
        match registered.take_hand_over() {
            Some(hand_over) => attempt.handed_over(hand_over, outcome, told),
            None => outcome,
        }
    }
}

//! Processes that are ready for tasks which may share one (`@task(…, warm=True)`).

use std::{
    collections::BTreeMap,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use asyncflow_proto::time::duration_ms;
use asyncflow_sdk::worker::{AttemptHandle, StopNote, StopReason};
use nix::sys::signal::Signal;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    interpreter::Interpreter,
    warm::{Job, Warm},
};
use crate::{
    command::{End, Stopping, say},
    process::Launch,
};

/// As many as there may be at once, started when they are needed.
pub struct Pool {
    interpreter: Arc<Interpreter>,
    /// What they are started with.
    variables: BTreeMap<String, String>,
    import_time_max: Duration,
    /// After so many tasks one is replaced.
    tasks_max: u32,
    room: Semaphore,
    idle: Mutex<Vec<Ready>>,
}

struct Ready {
    warm: Warm,
    tasks: u32,
}

/// Why there is no process.
pub enum NoPlace {
    /// The attempt was told to stop before there was one.
    Told(StopReason),
    /// None can be started; for people.
    Broken(String),
}

/// A process of the pool, for one attempt.
pub struct Place<'a> {
    pool: &'a Pool,
    ready: Ready,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    /// Of at most `size` processes.
    pub fn new(
        interpreter: Arc<Interpreter>,
        variables: BTreeMap<String, String>,
        size: usize,
        tasks_max: u32,
        import_time_max: Duration,
    ) -> Self {
        let room = Semaphore::new(size);
        Self { interpreter, variables, import_time_max, tasks_max, room, idle: Mutex::default() }
    }

    /// Waits for a process that is free, or for a new one. Cancel safe.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub async fn place(&self, attempt: &AttemptHandle) -> Result<Place<'_>, NoPlace> {
        let placing = async {
            let permit = self.room.acquire().await;
            let permit = permit.map_err(|error| NoPlace::Broken(error.to_string()))?;
            let ready = match self.take() {
                Some(ready) => ready,
                None => Ready { warm: self.start().await.map_err(NoPlace::Broken)?, tasks: 0 },
            };
            Ok(Place { pool: self, ready, _permit: permit })
        };
        tokio::select! {
            placed = placing => placed,
            told = attempt.cancelled() => Err(NoPlace::Told(told)),
        }
    }

    /// The one that was used last: what is warm stays warm.
    fn take(&self) -> Option<Ready> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|ready| ready.warm.is_alive());
        idle.pop()
    }

    async fn start(&self) -> Result<Warm, String> {
        let command = self.interpreter.command("serve");
        let launch = Launch {
            program: command.program,
            args: command.args,
            working_directory: PathBuf::from("/"),
            environment: self.variables.clone(),
        };
        let starting = tokio::time::timeout(self.import_time_max, Warm::start(launch));
        let started = starting.await.unwrap_or_else(|_| Err("it imports for too long".to_owned()));
        started.inspect(|_| tracing::debug!("a Python process is ready"))
    }
}

impl Place<'_> {
    /// Runs the attempt to its end. If it is told to stop the process gets the stop signal, after
    /// the grace SIGKILL; at once, when nothing of it counts any more. Then, and after a task that
    /// has left something behind, it is replaced. When this is dropped the process ends.
    pub async fn run(self, attempt: &AttemptHandle, job: Job, stopping: Stopping) -> End {
        let Self { pool, mut ready, _permit } = self;
        ready.tasks += 1;
        let stop_file = job.dir.join("stop");
        let limit = attempt.task().max_running_time.as_ref().and_then(duration_ms);
        let limit = limit.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let (mut time_over, mut grace_over) = (after(limit), after(None));
        let mut told = None;
        let mut has_run = ready.warm.run(job);
        let ran = loop {
            tokio::select! {
                biased;
                ran = &mut has_run => break ran.ok(),
                reason = attempt.stop_signal().raised_over(told) => {
                    if reason >= StopReason::LeaseLost {
                        ready.warm.signal(Signal::SIGKILL);
                    } else if told.is_none() {
                        let _ = std::fs::write(&stop_file, reason.text());
                        ready.warm.signal(stopping.signal);
                        grace_over = after(Some(stopping.grace));
                        say(attempt, &format!("told to stop: {}", reason.text())).await;
                    }
                    told = Some(reason);
                }
                () = &mut grace_over => {
                    grace_over = after(None);
                    ready.warm.signal(Signal::SIGKILL);
                }
                () = &mut time_over => {
                    time_over = after(None);
                    attempt.demand_stop(StopReason::TimedOut, StopNote::default());
                }
            }
        };
        let is_reusable = ran.as_ref().is_some_and(|ran| ran.is_reusable);
        if is_reusable && told.is_none() && ready.tasks < pool.tasks_max {
            pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(ready);
        }
        let told = told.map(|told| attempt.should_stop().unwrap_or(told));
        End { record: ran.map(|ran| ran.record), told, gpu_out_of_memory: false }
    }
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

fn after(span: Option<Duration>) -> Timer {
    Box::pin(async move {
        match span {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    })
}

//! Tasks that carry a command: one directory, one shim and one set of watchers per attempt.
//!
//! ```text
//!  prepare dir ─▶ start shim ─┬─ supervise: orders to the shim ─▶ record of the end
//!          adopt ────────────▶├─ stdout.log…, stderr.log… ─▶ task log
//!                             └─ events.jsonl ─▶ stage, context, progress, metrics, result
//!                                         (all read to the end before the attempt is settled)
//! ```

mod code;
mod container;
mod directory;
mod environment;
mod exit;
mod startable;
mod supervise;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use asyncflow_proto::time::duration_ms;
use asyncflow_sdk::{
    v1::{Command, FailureReason, Lease, LeasedTask, LogStream},
    worker::{AttemptHandle, Executor, LogKeeper, Outcome},
};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    adoption::{self, Adoptable, Sent, SentLog},
    attempt_service::{AttemptDesk, Registered},
    events::{self, EventsMark},
    file_watch::FileWatch,
    host::{Allotment, Host},
    log_files, log_tail,
    process::{EnvVariable, Launch, Limits},
    python::{Job, Place},
    shim::{ExitRecord, Shim, ShimLaunch, ShimProgram},
};
use container::{Contained, Engine};
pub use directory::{AttemptDir, MARK_VARIABLE, TOKEN_VARIABLE, inherited};
use environment::CondaPlaces;
pub use environment::activate;
pub use supervise::{End, Stopping, say};

/// When the process has ended, the rest of its log may take this long to be taken over.
const LOG_REST_MAX: Duration = Duration::from_secs(5);
/// Where a program that fails for lack of a GPU's memory says so.
const LAST_WORDS_BYTES: u64 = 64 * 1024;

/// What one attempt has.
struct Prepared {
    registered: Registered,
    allotment: Allotment,
    dir: AttemptDir,
}

/// What all attempts of a worker share.
pub struct CommandExecutor {
    /// Where directories of attempts are made.
    pub attempts: std::path::PathBuf,
    /// Marks all processes of this worker.
    pub mark: String,
    /// How shims are started.
    pub shim: ShimProgram,
    /// Where control groups are made, if they can be.
    pub cgroups: Option<std::path::PathBuf>,
    /// `[command]`.
    pub config: crate::config::CommandConfig,
    /// From the stop signal to SIGKILL.
    pub stop_grace: Duration,
    /// Serves AttemptService.
    pub desk: Arc<AttemptDesk>,
    /// Gives GPUs.
    pub host: Arc<Host>,
    /// Wakes readers of files.
    pub watch: FileWatch,
    /// What a former process left.
    pub adoptable: Mutex<Vec<Adoptable>>,
    /// Nothing could be started here last, for the host's own reasons.
    pub cannot_start: AtomicBool,
}

#[async_trait]
impl Executor for CommandExecutor {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        let command = attempt.task().command.clone().unwrap_or_default();
        self.execute_as(attempt, command).await
    }

    fn adoptable(&self) -> Vec<LeasedTask> {
        let found = self.adoptable.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().map(|found| found.leased.clone()).collect()
    }

    async fn adopt(&self, attempt: AttemptHandle) -> Outcome {
        let lease = attempt.lease();
        let found = {
            let mut all = self.adoptable.lock().unwrap_or_else(PoisonError::into_inner);
            let place = all.iter().position(|one| one.leased.lease.as_ref() == Some(&lease));
            place.map(|place| all.swap_remove(place))
        };
        let Some(Adoptable { token, is_gone, .. }) = found else {
            return self.execute(attempt).await;
        };
        tracing::info!("adopted from a former process of this worker");
        let allotment = self.host.readopt(&attempt);
        let dir = AttemptDir::of(&self.attempts, &lease, &self.mark);
        let shim = Shim::adopt(dir.path(), EnvVariable::new(TOKEN_VARIABLE, &token));
        let registered = self.desk.register_as(attempt.clone(), token);
        registered.recall(dir.path());
        registered.keep_in(dir.path());
        allotment.runs_in(dir.path());
        let outcome = self.follow_shim(&attempt, &registered, &dir, shim).await;
        // What it has saved is told by now; how it ended nobody knows.
        let outcome = if is_gone { Outcome::Abandoned } else { outcome };
        allotment.conclude(&attempt, outcome)
    }

    async fn ready(&self) {
        self.until_startable().await;
    }

    /// The shim does, also while no worker is there.
    fn keeps_time(&self) -> bool {
        true
    }

    fn log_keeper(&self, lease: &Lease) -> Option<Box<dyn LogKeeper>> {
        Some(Box::new(SentLog::new(self.dir_of(lease))))
    }

    fn recorded(&self, lease: &Lease) {
        adoption::forget(&self.dir_of(lease));
    }
}

impl CommandExecutor {
    /// Runs the attempt by this command, which need not be one that its task carries. It is kept
    /// with the attempt: whoever goes on with it finds a command.
    pub async fn execute_as(&self, attempt: AttemptHandle, command: Command) -> Outcome {
        let Prepared { registered, allotment, dir } = match self.prepare(&attempt).await {
            Ok(prepared) => prepared,
            Err(outcome) => return outcome,
        };
        let mut leased = attempt.leased().clone();
        leased.task.get_or_insert_default().command = Some(command.clone());
        if let Err(error) = adoption::keep(dir.path(), leased, registered.token()) {
            return self.not_started("its directory cannot be made", &error);
        }
        code::look(&attempt).await;
        let launch = match self.launch(&attempt, command, &registered, &dir, &allotment) {
            Ok(launch) => launch,
            Err(message) => return not_runnable(&attempt, message).await,
        };
        match Shim::start(&self.shim, dir.path(), &launch).await {
            Ok(shim) => {
                allotment.runs_in(dir.path());
                let outcome = self.follow_shim(&attempt, &registered, &dir, shim).await;
                allotment.conclude(&attempt, outcome)
            }
            Err(error) => self.not_started("its shim cannot be started", &error),
        }
    }

    /// Whether the attempt may run in a process that others have used: one that got GPUs, or a
    /// limit of its own, may not.
    pub fn may_share_process(&self, attempt: &AttemptHandle) -> bool {
        let resources = attempt.task().resources.as_ref();
        let has_gpus = resources.is_some_and(|has| has.gpus > 0 || has.gpu_memory_bytes > 0);
        !has_gpus && self.limits(attempt) == Limits::default()
    }

    /// Runs the attempt, as by this command, in a process that is there already. Nothing of it goes
    /// on after this worker.
    pub async fn execute_in(
        &self,
        place: Place<'_>,
        attempt: AttemptHandle,
        command: Command,
    ) -> Outcome {
        let Prepared { registered, allotment, dir } = match self.prepare(&attempt).await {
            Ok(prepared) => prepared,
            Err(outcome) => return outcome,
        };
        let environment = self.variables(&attempt, &command, &registered, &dir, &allotment);
        let environment = match environment {
            Ok(environment) => environment,
            Err(message) => return not_runnable(&attempt, message).await,
        };
        let job = Job {
            dir: dir.path().to_owned(),
            working_directory: dir.work_dir(),
            environment,
            token: EnvVariable::new(TOKEN_VARIABLE, registered.token()),
            log_bytes_max: self.config.log_bytes_max,
        };
        let running = |_| place.run(&attempt, job, self.stopping());
        let outcome = self.follow(&attempt, &registered, &dir, running).await;
        allotment.conclude(&attempt, outcome)
    }

    /// All that an attempt has before its program begins.
    ///
    /// # Errors
    /// The outcome of one that cannot begin.
    async fn prepare(&self, attempt: &AttemptHandle) -> Result<Prepared, Outcome> {
        let registered = self.desk.register(attempt.clone());
        let allotment = self.host.admit(attempt).await?;
        let dir = self.make_dir(attempt).await;
        let dir = dir.map_err(|error| self.not_started("its directory cannot be made", &error))?;
        registered.keep_in(dir.path());
        Ok(Prepared { registered, allotment, dir })
    }

    fn dir_of(&self, lease: &Lease) -> std::path::PathBuf {
        AttemptDir::of(&self.attempts, lease, &self.mark).path().to_owned()
    }

    /// What the shim is told, or why the command cannot be run here, for people.
    fn launch(
        &self,
        attempt: &AttemptHandle,
        command: Command,
        registered: &Registered,
        dir: &AttemptDir,
        allotment: &Allotment,
    ) -> Result<ShimLaunch, String> {
        let task = attempt.task();
        let working_directory = match command.working_directory.as_str() {
            "" => dir.work_dir(),
            path => path.into(),
        };
        let environment = self.variables(attempt, &command, registered, dir, allotment)?;
        let limits = self.limits(attempt);
        let (launch, end_command) = match &command.container {
            Some(container) => {
                let contained = Contained {
                    name: &container::name(&task.id, attempt.lease().attempt),
                    command: &command,
                    container,
                    dir: dir.path(),
                    work_dir: &dir.work_dir(),
                    socket: registered.socket(),
                    variables: &environment,
                    limits: &limits,
                };
                contained.launch(&Engine::find(&self.config.container_engine)?)?
            }
            None => {
                let (program, args) = (command.program, command.args);
                (Launch { program, args, working_directory, environment }, None)
            }
        };
        let time_limit_ms = task.max_running_time.as_ref().and_then(duration_ms);
        Ok(ShimLaunch {
            launch,
            token_variable: TOKEN_VARIABLE.to_owned(),
            time_limit_ms: time_limit_ms.and_then(|ms| u64::try_from(ms).ok()),
            grace_ms: u64::try_from(self.stop_grace.as_millis()).unwrap_or(u64::MAX),
            stop_signal: self.stopping().signal as i32,
            log_bytes_max: self.config.log_bytes_max,
            cgroups: self.cgroups.clone(),
            limits,
            end_command,
        })
    }

    /// The program's whole environment, or why it cannot be made, for people.
    fn variables(
        &self,
        attempt: &AttemptHandle,
        command: &Command,
        registered: &Registered,
        dir: &AttemptDir,
        allotment: &Allotment,
    ) -> Result<BTreeMap<String, String>, String> {
        let allowed = &self.config.environment_allowed;
        let mut environment = dir.environment(attempt, allowed, &command.environment, registered);
        environment.extend(allotment.environment());
        if !command.python_environment.is_empty() {
            let places = CondaPlaces::of_this_user(&self.config.conda_roots);
            environment::activate(&mut environment, &command.python_environment, &places)?;
        }
        Ok(environment)
    }

    /// Makes the attempt's directory, off the threads that serve.
    async fn make_dir(&self, attempt: &AttemptHandle) -> io::Result<AttemptDir> {
        let (attempts, mark) = (self.attempts.clone(), self.mark.clone());
        let attempt = attempt.clone();
        let making = move || AttemptDir::make(&attempts, &attempt, &mark);
        tokio::task::spawn_blocking(making).await.map_err(io::Error::other)?
    }

    fn limits(&self, attempt: &AttemptHandle) -> Limits {
        let resources = attempt.task().resources.as_ref();
        match resources.filter(|_| self.config.limit_resources) {
            Some(wanted) => Limits {
                memory_bytes: u64::try_from(wanted.memory_bytes).ok().filter(|bytes| *bytes > 0),
                cpus: Some(wanted.cpus).filter(|cpus| *cpus > 0.0),
            },
            None => Limits::default(),
        }
    }

    fn stopping(&self) -> Stopping {
        // It was checked when the settings were read.
        let signal = self.config.stop_signal.parse().unwrap_or(Signal::SIGTERM);
        Stopping { signal, grace: self.stop_grace }
    }

    async fn follow_shim(
        &self,
        attempt: &AttemptHandle,
        registered: &Registered,
        dir: &AttemptDir,
        shim: Shim,
    ) -> Outcome {
        let supervise = |changes| supervise::to_the_end(shim, attempt, self.stopping(), changes);
        self.follow(attempt, registered, dir, supervise).await
    }

    /// Watches the attempt to its end, which `supervise` sees to, woken by changes in its
    /// directory; and takes over all that it has written.
    async fn follow<S: Future<Output = End>>(
        &self,
        attempt: &AttemptHandle,
        registered: &Registered,
        dir: &AttemptDir,
        supervise: impl FnOnce(watch::Receiver<()>) -> S,
    ) -> Outcome {
        let running = metrics::gauge!("asyncflow_worker_processes");
        running.increment(1.0);
        let ended = CancellationToken::new();
        let changes = self.watch.watch(dir.path());
        let supervising = async {
            let end = supervise(changes.receiver()).await;
            ended.cancel();
            end
        };
        let sent = Sent::read(dir.path());
        let tail = |name, stream, position| log_tail::Tail {
            dir: dir.path().to_owned(),
            name,
            stream,
            position,
            backlog_max_bytes: self.config.log_backlog_max_bytes,
            changes: changes.receiver(),
            ended: ended.clone(),
        };
        let logs = async {
            let both = async {
                tokio::join!(
                    tail("stdout.log", LogStream::Stdout, sent.stdout).run(attempt),
                    tail("stderr.log", LogStream::Stderr, sent.stderr).run(attempt),
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
        let (events, mark) = (dir.events(), EventsMark::read(dir.path()));
        let receiver = changes.receiver();
        let reading = events::follow(events, receiver, ended.clone(), attempt, registered, mark);
        let (mut end, (), ()) = tokio::join!(supervising, logs, reading);
        running.decrement(1.0);
        self.take_stock(attempt, dir.path(), &mut end).await;
        let told = end.told;
        let outcome = exit::outcome(end, registered.take_result(), registered.take_wait_for());
        let outcome = exit::explained(outcome, registered.take_failure());
        match registered.take_hand_over() {
            Some(hand_over) => attempt.handed_over(hand_over, outcome, told),
            None => outcome,
        }
    }

    /// What the attempt used, and why it failed, as far as that is not in its exit code.
    async fn take_stock(&self, attempt: &AttemptHandle, dir: &Path, end: &mut End) {
        let Some(record) = &end.record else { return };
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        attempt.measure(|usage| {
            usage.cpu_seconds = record.cpu_seconds;
            usage.memory_peak_bytes = number(record.memory_peak_bytes);
            usage.log_dropped_bytes = number(record.log_dropped_bytes);
        });
        if let ExitRecord { not_started: Some(error), .. } = record {
            attempt.log_system(&error.message).await;
        }
        let has_failed = record.exit.is_some_and(|exit| exit.code() != 0);
        if has_failed && end.told.is_none() {
            let (dir, patterns) = (dir.to_owned(), self.config.gpu_out_of_memory.clone());
            let reading = tokio::task::spawn_blocking(move || {
                ["stderr.log", "stdout.log"].iter().any(|name| {
                    let words = log_files::last_bytes(&dir, name, LAST_WORDS_BYTES);
                    exit::tells_of_gpu_memory(&words, &patterns)
                })
            });
            end.gpu_out_of_memory = reading.await.unwrap_or_default();
        }
    }
}

async fn not_runnable(attempt: &AttemptHandle, message: String) -> Outcome {
    attempt.log_system(&message).await;
    Outcome::failed_for_good(FailureReason::CommandNotRunnable, message)
}

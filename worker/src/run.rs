//! The worker from start to end.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use asyncflow_sdk::worker::{EVERY_TYPE, Handlers, WorkerBuilder, WorkerOptions};
use asyncflow_service::{identity, secret_file::SecretFileError};
use tokio_util::sync::CancellationToken;

use crate::{
    WorkerConfig,
    adoption::{self, Adoptable, Found},
    attempt_service::AttemptDesk,
    clean,
    command::{CommandExecutor, MARK_VARIABLE, TOKEN_VARIABLE},
    data_dir::{DataDir, DataDirError},
    file_watch::FileWatch,
    gpu::Environ,
    host::Host,
    journal::FileJournal,
    process::{Base, EnvVariable, kill_leftovers},
    python::{ListError, Python},
    shim::{ShimProgram, read_leftover},
};

const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its token cannot be read.
    #[error(transparent)]
    Token(#[from] SecretFileError),
    /// Bad options, or the broker refuses this worker.
    #[error("the broker refused this worker: {0}")]
    Refused(#[from] asyncflow_sdk::Error),
    /// It is not known which Python tasks there are.
    #[error(transparent)]
    Python(#[from] ListError),
    /// The socket for tasks cannot be served.
    #[error("the socket for tasks: {0}")]
    Socket(#[source] std::io::Error),
}

/// Works until `shutdown` is cancelled, then drains: takes nothing new, lets tasks end for the
/// configured time, asks the others to stop, gives them back and deregisters.
///
/// # Errors
/// [`WorkerError`]. Brokers that cannot be reached are no error.
pub async fn run(
    config: WorkerConfig,
    handlers: Handlers,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    run_with(config, handlers, Ends { drain: shutdown, ..Ends::default() }).await
}

/// As [`run`]; when `abort` is cancelled everything that runs is killed at once.
///
/// # Errors
/// [`WorkerError`].
pub async fn run_until(
    config: WorkerConfig,
    handlers: Handlers,
    shutdown: CancellationToken,
    abort: CancellationToken,
) -> Result<(), WorkerError> {
    run_with(config, handlers, Ends { drain: shutdown, abort, ..Ends::default() }).await
}

/// The ways in which a worker can be told to end.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Takes nothing new, lets tasks end for the configured time, asks the others to stop.
    pub drain: CancellationToken,
    /// Kills everything that runs.
    pub abort: CancellationToken,
    /// Ends at once and leaves running what runs: the next worker process goes on with it.
    pub detach: CancellationToken,
}

/// As [`run`], with all the ways to end.
///
/// # Errors
/// [`WorkerError`].
pub async fn run_with(
    config: WorkerConfig,
    handlers: Handlers,
    ends: Ends,
) -> Result<(), WorkerError> {
    let data_dir = open_data_dir(&config).await?;
    let brokers = config.channels()?;
    let adoptable = take_over(&data_dir).await;
    let desk = AttemptDesk::open(data_dir.socket(), data_dir.mark());
    let desk = Arc::new(desk.map_err(WorkerError::Socket)?);
    // Whoever runs already finds it there before this worker is known to anybody.
    let listener = desk.listen().map_err(WorkerError::Socket)?;
    let python = tokio::select! {
        opened = Python::open(&config, &data_dir, !adoptable.is_empty()) => opened?,
        // Nobody knows this process yet; what still runs is the next one's.
        () = ends.drain.cancelled() => return Ok(()),
        () = ends.detach.cancelled() => return Ok(()),
    };
    let watch = FileWatch::open();
    let name = if config.host.is_empty() { identity::hostname() } else { config.host.clone() };
    let owners = Arc::new(Environ::new(data_dir.mark()));
    let running = adoptable.iter().map(|one| (&one.leased, one.ran));
    let host = Host::open(&config, name.clone(), data_dir.root(), owners, running).await;
    let executor = Arc::new(CommandExecutor {
        attempts: data_dir.attempts(),
        mark: data_dir.mark().to_owned(),
        shim: ShimProgram {
            path: config.command.shim_program(),
            mark: (MARK_VARIABLE, data_dir.mark().to_owned()),
        },
        cgroups: cgroups(config.command.cgroups),
        config: config.command.clone(),
        stop_grace: config.stop_grace(),
        adoptable: Mutex::new(adoptable),
        cannot_start: AtomicBool::new(false),
        desk: desk.clone(),
        host: host.clone(),
        watch: watch.clone(),
    });
    let worker = WorkerBuilder::new(WorkerOptions {
        host: name,
        labels: config.labels.clone(),
        task_types: python.with_named(&config.task_types),
        takes_commands: config.task_types.iter().any(|name| name == EVERY_TYPE),
        slots: config.slots(),
        version: identity::VERSION.to_owned(),
        drain_timeout: Duration::from_millis(config.drain_time_ms),
        starts_later: true,
        ..WorkerOptions::new(brokers.clone(), data_dir.worker_id())
    })
    .handlers(python.add_to(handlers, &executor).command(executor))
    .host(host.clone())
    .detach(ends.detach)
    .journal(Arc::new(FileJournal::new(data_dir.journal(), data_dir.rejected())));
    // The socket outlives the tasks that call it.
    let desk_end = CancellationToken::new();
    let _desk_ends_too = desk_end.clone().drop_guard();
    tokio::select! {
        ended = worker.run(ends.drain, ends.abort) => Ok(ended?),
        served = desk.serve(listener, desk_end) => served.map_err(WorkerError::Socket),
        () = python.make_types(&brokers) => Ok(()),
        () = watch.run() => Ok(()),
        () = host.run() => Ok(()),
        () = clean::run(data_dir.attempts(), config.keep.clone()) => Ok(()),
    }
}

/// A worker that was killed just now may still hold the lock for a moment.
async fn open_data_dir(config: &WorkerConfig) -> Result<DataDir, DataDirError> {
    let mut tries_left = LOCK_TRIES;
    loop {
        match DataDir::open(&config.data_dir, &config.worker_id) {
            Err(DataDirError::InUse { .. }) if tries_left > 0 => tries_left -= 1,
            opened => return opened,
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Looks for what a former worker left running. What this one cannot go on with is ended before the
/// first task is taken: its leases are given up.
async fn take_over(data_dir: &DataDir) -> Vec<Adoptable> {
    let variable = EnvVariable::new(MARK_VARIABLE, data_dir.mark());
    let attempts = data_dir.attempts();
    let looking = tokio::task::spawn_blocking(move || {
        let Found { adoptable, leftovers } = adoption::find(&attempts);
        let (gone, living): (Vec<_>, Vec<_>) = adoptable.iter().partition(|one| one.is_gone);
        let spared = living.iter().map(|one| EnvVariable::new(TOKEN_VARIABLE, &one.token));
        let ended = leftovers.iter().chain(gone.iter().map(|one| &one.dir));
        let records = ended.map(|dir| read_leftover(dir)).collect();
        let killed = kill_leftovers(records, variable, spared.collect());
        // Not before: another process would take over from this one, if it does not come so far.
        leftovers.iter().for_each(|dir| adoption::forget(dir));
        (adoptable, killed)
    });
    let (adoptable, killed) = looking.await.unwrap_or_default();
    if killed > 0 {
        tracing::warn!(killed, "processes that a former worker left were killed");
    }
    if !adoptable.is_empty() {
        tracing::info!(count = adoptable.len(), "going on with attempts of a former process");
    }
    adoptable
}

fn cgroups(wanted: bool) -> Option<PathBuf> {
    if !wanted {
        return None;
    }
    let base = Base::open();
    let base = base.inspect_err(|why| tracing::info!(why, "attempts get no control groups"));
    base.ok().map(|base| base.path().to_owned())
}

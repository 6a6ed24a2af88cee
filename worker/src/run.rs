//! The worker from start to end.

use std::{sync::Arc, time::Duration};

use asyncflow_sdk::worker::{Handlers, WorkerBuilder, WorkerOptions};
use asyncflow_service::{identity, secret_file::SecretFileError};
use tokio_util::sync::CancellationToken;

use crate::{
    WorkerConfig,
    attempt_service::AttemptDesk,
    clean,
    command::{CommandExecutor, MARK_VARIABLE},
    data_dir::{DataDir, DataDirError},
    file_watch::FileWatch,
    gpu::Environ,
    host::Host,
    journal::FileJournal,
    process::{EnvVariable, kill_leftovers},
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
    run_until(config, handlers, shutdown, CancellationToken::new()).await
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
    let data_dir = open_data_dir(&config).await?;
    let brokers = config.channels()?;
    end_leftovers(&data_dir).await;
    let desk = Arc::new(AttemptDesk::open(data_dir.socket()).map_err(WorkerError::Socket)?);
    let watch = FileWatch::open();
    let name = if config.host.is_empty() { identity::hostname() } else { config.host.clone() };
    let owners = Arc::new(Environ::new(data_dir.mark()));
    let host = Host::open(&config, name.clone(), data_dir.root(), owners).await;
    let executor = CommandExecutor {
        attempts: data_dir.attempts(),
        mark: data_dir.mark().to_owned(),
        environment_allowed: config.command.environment_allowed.clone(),
        stop_grace: config.stop_grace(),
        log_backlog_max_bytes: config.command.log_backlog_max_bytes,
        desk: desk.clone(),
        host: host.clone(),
        watch: watch.clone(),
    };
    let worker = WorkerBuilder::new(WorkerOptions {
        host: name,
        labels: config.labels.clone(),
        task_types: config.task_types.clone(),
        slots: config.slots(),
        version: identity::VERSION.to_owned(),
        drain_timeout: Duration::from_millis(config.drain_time_ms),
        starts_later: true,
        ..WorkerOptions::new(brokers, data_dir.worker_id())
    })
    .handlers(handlers.command(Arc::new(executor)))
    .host(host.clone())
    .journal(Arc::new(FileJournal::new(data_dir.journal(), data_dir.rejected())));
    // The socket outlives the tasks that call it.
    let desk_end = CancellationToken::new();
    let _desk_ends_too = desk_end.clone().drop_guard();
    tokio::select! {
        ended = worker.run(shutdown, abort) => Ok(ended?),
        served = desk.serve(desk_end) => served.map_err(WorkerError::Socket),
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

/// Nothing of a former worker may run when the first task is taken: its leases are given up.
async fn end_leftovers(data_dir: &DataDir) {
    let entries = std::fs::read_dir(data_dir.attempts()).into_iter().flatten().flatten();
    let records = entries.map(|entry| entry.path().join("process.json"));
    let records = records.filter(|path| path.exists()).collect();
    let variable = EnvVariable::new(MARK_VARIABLE, data_dir.mark());
    let killed = kill_leftovers(records, variable).await;
    if killed > 0 {
        tracing::warn!(killed, "processes that a former worker left were killed");
    }
}

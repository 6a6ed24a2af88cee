//! `asyncflow dev`: broker, governor and worker in one process, on SQLite in one directory.
//!
//! ```text
//!  data_dir.rs   the directory, its lock, its format
//!  settings.rs   the three programs' settings for this purpose
//!  stack.rs      start: store → broker → governor → worker
//!                stop:  worker → broker → governor → store
//!  ready.rs      dev.json and what is printed
//! ```

mod data_dir;
mod ready;
mod settings;
mod stack;

use crate::error::exit;
use asyncflow_service::telemetry;
use data_dir::{DataDir, DataDirError};
use settings::{Settings, SettingsErrors};
use stack::{Stack, StackError};
use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Start broker, governor and worker in one process
///
/// Everything is kept in the data directory: stop it, start it again, and it goes on. Settings of
/// the three programs are those of their environment variables (ASYNCFLOW_BROKER__…) and of --set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "./.asyncflow")]
    data_dir: PathBuf,
    /// The broker's address; port 0 takes a free one, for governor and HTTP too
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// The governor's address; default: the broker's port + 10
    #[arg(long, value_name = "IP:PORT")]
    governor_listen: Option<SocketAddr>,
    /// Where metrics and health are served; default: the broker's port + 1
    #[arg(long, value_name = "IP:PORT")]
    http_listen: Option<SocketAddr>,
    /// Runs the Python tasks (@task) of a module, e.g. lab.train, or of a file; may be repeated
    #[arg(long, value_name = "MODULE")]
    python: Vec<String>,
    /// One setting, e.g. broker.lease.ttl_ms=5000, governor.leader.ttl_ms=1000, worker.slots=4
    #[arg(long = "set", value_name = "PROGRAM.KEY=VALUE", value_parser = settings::parse)]
    settings: Vec<settings::Setting>,
}

/// Why it did not start or ended badly.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error(transparent)]
    Config(#[from] SettingsErrors),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error("cannot listen for signals: {0}")]
    Signals(#[from] io::Error),
}

/// Runs until SIGTERM or SIGINT. Exit codes: 0 after a clean end, 1 after an error, 2 when the
/// settings are wrong. A second signal kills what the worker runs instead of waiting for it.
pub async fn execute(args: Args) -> ExitCode {
    match run(args).await {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            crate::complain(&error.to_string());
            let is_config = matches!(error, DevError::Config(_));
            ExitCode::from(if is_config { exit::USAGE } else { exit::ERROR })
        }
    }
}

async fn run(args: Args) -> Result<(), DevError> {
    let mut signals = Signals::listen()?;
    let data_dir = DataDir::open(&args.data_dir)?;
    let settings = Settings::load(&args, &data_dir)?;
    telemetry::init(&settings.broker.log);
    let stack = Stack::start(settings, &data_dir).await?;
    let (drain, abort) = (CancellationToken::new(), stack.abort());
    let announced = ready::announce(&data_dir, stack.addresses()).map_err(StackError::Announce);
    if announced.is_err() {
        drain.cancel();
    }
    let ended = tokio::select! {
        ended = stack.run_until(&drain) => ended,
        never = signals.follow(&drain, &abort) => match never {},
    };
    ready::withdraw(&data_dir);
    Ok(announced.and(ended)?)
}

/// SIGTERM and SIGINT, listened for from the very start, so that none is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The first one drains, later ones abort.
    async fn follow(
        &mut self,
        drain: &CancellationToken,
        abort: &CancellationToken,
    ) -> std::convert::Infallible {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if drain.is_cancelled() {
                abort.cancel();
            } else {
                crate::remark("stopping; what runs goes on at the next start");
                drain.cancel();
            }
        }
    }
}

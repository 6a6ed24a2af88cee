//! The command line, and the process around [`run`].

use crate::{
    config::{DEFAULT_CONFIG, ENV_PREFIX, GovernorConfig},
    run::{GovernorError, run},
};
use asyncflow_service::{
    config::{ConfigErrors, Sources, mask_urls},
    server,
    shutdown::{Shutdown, watch_signals},
    telemetry,
};
use asyncflow_store::{Store, StoreError};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const EXIT_ERROR: u8 = 1;
const EXIT_CONFIG: u8 = 2;
/// How long to wait before the database is tried again at the start.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Takes back the tasks of dead workers, deletes what is kept long enough, promotes what is due.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Settings (TOML) over the built-in defaults.
    #[arg(long, value_name = "FILE", env = "ASYNCFLOW_GOVERNOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, e.g. leader.ttl_ms=5000; stronger than file and environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Args {
    /// The layers of settings that these arguments name.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let sources = Sources::new(DEFAULT_CONFIG, ENV_PREFIX).file(self.config.clone());
        self.settings.iter().fold(sources, |sources, (key, value)| sources.flag(key, value))
    }

    /// Loads and validates the settings.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<GovernorConfig, ConfigErrors> {
        GovernorConfig::load(&self.sources())
    }
}

/// The whole life of a governor process: settings, logs, database, duties, end by a signal.
///
/// Exit codes: 0 after a clean end, 1 after an error, 2 when the settings are wrong.
pub async fn execute(args: Args) -> ExitCode {
    let config = match args.load() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("asyncflow-governor: {errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    telemetry::init(&config.log);
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(watch_signals(shutdown.clone(), config.drain_time()));
    let outcome = open_and_run(config, &shutdown).await;
    signals.abort();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %mask_urls(&error.to_string()), "the governor ends");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

async fn open_and_run(config: GovernorConfig, shutdown: &Shutdown) -> Result<(), GovernorError> {
    let listener = server::bind(config.listen.address).await?;
    let Some(store) = open(&config, shutdown).await? else { return Ok(()) };
    let outcome = run(config, store.clone(), listener, shutdown.drain().clone()).await;
    store.close().await;
    outcome
}

/// Connects and migrates; waits for a database that is not up yet. `None` when told to end.
async fn open(
    config: &GovernorConfig,
    shutdown: &Shutdown,
) -> Result<Option<Store>, GovernorError> {
    let (options, url) = (config.store_options(), mask_urls(&config.database.url));
    let mut told = false;
    loop {
        let connecting = async {
            let store = Store::connect(&options).await?;
            store.migrate().await?;
            Ok::<_, StoreError>(store)
        };
        let error = tokio::select! {
            () = shutdown.drain().cancelled() => return Ok(None),
            outcome = connecting => match outcome {
                Ok(store) => return Ok(Some(store)),
                Err(error) => error,
            },
        };
        if !StoreError::is_retryable(&error) {
            return Err(GovernorError::Open { url, source: error });
        }
        if !std::mem::replace(&mut told, true) {
            let said = mask_urls(&error.to_string());
            tracing::warn!("waiting for the database {url}: {said}; {}", error.advice());
        }
        tokio::select! {
            () = shutdown.drain().cancelled() => return Ok(None),
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
        }
    }
}

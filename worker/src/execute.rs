//! The program: settings, logs, signals, HTTP side, worker.

use std::process::ExitCode;

use asyncflow_sdk::worker::Handlers;
use asyncflow_service::{health::Health, http, server, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Args, Ends, WorkerConfig, config, run_with};

const EXIT_CONFIG: u8 = 2;

/// Runs the program `asyncflow-worker`. Exit codes: 0 drained, 1 failed, 2 bad configuration.
pub async fn execute(args: Args) -> ExitCode {
    let config = match config::load(&args.sources()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    telemetry::init(&config.log);
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker ends");
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: WorkerConfig) -> Result<(), Box<dyn std::error::Error>> {
    let ends = Ends::default();
    let health = Health::new(&[]).await;
    let http_end = CancellationToken::new();
    let http = async {
        let Some(address) = config.metrics.address else { return std::future::pending().await };
        let listener = server::bind(address).await?;
        http::serve(listener, health.clone(), http_end.clone()).await?;
        Ok(())
    };
    health.set_serving().await;
    tokio::select! {
        ended = run_with(config.clone(), Handlers::new(), ends.clone()) => {
            Ok(ended?)
        }
        served = http => served,
        signals = follow_signals(&ends) => Ok(signals?),
    }
}

/// The first signal drains, the second kills what runs and ends. SIGUSR1 ends at once and leaves
/// running what runs, for the next process. Returns only on failure.
async fn follow_signals(ends: &Ends) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut detach = signal(SignalKind::user_defined1())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = detach.recv() => {
                tracing::info!("detaching, tasks go on");
                ends.detach.cancel();
                continue;
            }
        }
        if ends.drain.is_cancelled() {
            tracing::warn!("second signal, killing what runs");
            ends.abort.cancel();
        } else {
            tracing::info!("draining");
            ends.drain.cancel();
        }
    }
}

//! The plain HTTP side: `/metrics`, `/healthz`, `/readyz`. Read only, without secrets.

use crate::{clock::Stopwatch, health::Health, telemetry};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use std::{io, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often histograms are folded, so that an unscraped process does not grow.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Serves until `stop` is cancelled. It should outlive draining, so that probes see it.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    stop: CancellationToken,
) -> io::Result<()> {
    let metrics = telemetry::metrics();
    let started = Stopwatch::start();
    let app = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state((health, started));
    let serving = axum::serve(listener, app)
        .with_graceful_shutdown(stop.clone().cancelled_owned())
        .into_future();
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            metrics.run_upkeep();
        }
    };
    // A scraper that keeps its connection open must not hold up the end of the process.
    let ended = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        result = serving => result,
        () = upkeep => Ok(()),
        () = ended => Ok(()),
    }
}

async fn show_metrics(State((_, started)): State<(Health, Stopwatch)>) -> impl IntoResponse {
    metrics::gauge!("asyncflow_uptime_seconds").set(started.elapsed().as_secs_f64());
    let text = telemetry::metrics().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn ready(State((health, _)): State<(Health, Stopwatch)>) -> impl IntoResponse {
    match health.check() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

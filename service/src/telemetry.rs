//! How logs, metrics and panics leave the process.

use crate::config::{LogConfig, LogFormat};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{backtrace::Backtrace, panic, sync::OnceLock};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Bounds of every `*_seconds` histogram: from the claim in memory to a long poll.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Sends logs to stderr with RFC 3339 times, and panics to the log as one line.
///
/// Only the first call of a process has an effect, so that programs which embed each other may
/// all call it. Returns whether this call was the one.
pub fn init(config: &LogConfig) -> bool {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let installed = match config.format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
    }
    .is_ok();
    if installed {
        panic::set_hook(Box::new(log_panic));
    }
    installed
}

/// The process's metrics; the first call installs the recorder behind the `metrics` macros.
///
/// Where an embedding program has installed one of its own, `/metrics` stays empty.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let suffix = Matcher::Suffix("_seconds".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(suffix, &SECONDS_BUCKETS)
            .unwrap_or_default()
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed, /metrics stays empty");
        }
        handle
    })
}

fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("(no message)");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture().to_string();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    tracing::error!(%location, %thread, backtrace = ?backtrace, "panic: {message:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_init_changes_nothing_and_metrics_are_one_per_process() {
        let config = LogConfig { format: LogFormat::Json, filter: "info".to_owned() };
        let _ = init(&config);
        assert!(!init(&config));
        metrics();
        metrics::counter!("asyncflow_telemetry_test_total").increment(2);
        assert!(metrics().render().contains("asyncflow_telemetry_test_total 2"));
    }
}

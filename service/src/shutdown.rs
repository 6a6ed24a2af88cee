//! How a process ends: **drain** (take nothing new, finish what is there), then **stop**.
//!
//! ```text
//!  running ──SIGTERM/SIGINT──▶ draining ──drain time is over, or stop()──▶ stopped
//!                                 └──────second signal──▶ exit 130 at once
//! ```

use std::{io, time::Duration};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after a second signal.
pub const EXIT_IMPATIENT: i32 = 130;

/// The two moments of an end; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    drain: CancellationToken,
}

impl Shutdown {
    /// A process that runs.
    #[must_use]
    pub fn new() -> Self {
        let stop = CancellationToken::new();
        Self { drain: stop.child_token(), stop }
    }

    /// Cancelled when nothing new may be taken any more: long polls answer empty, streams end.
    #[must_use]
    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when whatever still runs is to be dropped. Implies [`drain`](Self::drain).
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Begins to drain; what `serve` functions wait for. Does it once, repeats do nothing.
    pub fn begin_drain(&self) {
        self.drain.cancel();
    }

    /// Ends everything now.
    pub fn stop_now(&self) {
        self.stop.cancel();
    }
}

/// Turns SIGTERM and SIGINT into `shutdown`: drain at the first, [`EXIT_IMPATIENT`] at the second,
/// stop when draining took longer than `drain_time`. Returns once stopped.
///
/// Cancel safe: dropping it gives up listening and leaves `shutdown` as it is. The handlers stay
/// installed, so the caller owns the task that runs this and lets it live as long as `main`.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn watch_signals(shutdown: Shutdown, drain_time: Duration) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = shutdown.drain.cancelled() => {}
    }
    tracing::info!(drain_time_ms = drain_time.as_millis(), "shutting down");
    shutdown.begin_drain();
    tokio::select! {
        _ = terminate.recv() => exit_at_once(),
        _ = interrupt.recv() => exit_at_once(),
        () = shutdown.stop.cancelled() => {}
        () = tokio::time::sleep(drain_time) => {
            tracing::warn!("draining took too long, stopping");
        }
    }
    shutdown.stop_now();
    Ok(())
}

fn exit_at_once() -> ! {
    tracing::warn!("second signal, leaving at once");
    std::process::exit(EXIT_IMPATIENT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_stop_is_a_drain_too_and_a_drain_ends_in_a_stop() {
        let shutdown = Shutdown::new();
        let watch = tokio::spawn(watch_signals(shutdown.clone(), Duration::from_millis(5)));
        shutdown.begin_drain();
        shutdown.stop().cancelled().await;
        watch.await.unwrap().unwrap();

        let other = Shutdown::new();
        other.stop_now();
        assert!(other.drain().is_cancelled());
    }
}

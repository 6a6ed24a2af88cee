//! Whether attempts can be started at all. Where a host has no room on its disk, or no shim, that
//! is no fault of a task: it goes back uncounted, and no other one is taken meanwhile.

use std::{fs, io, path::Path, sync::atomic::Ordering, time::Duration};

use asyncflow_sdk::{v1::FailureReason, worker::Outcome};

use super::CommandExecutor;

/// After a start that failed it is not tried before.
const PAUSE: Duration = Duration::from_secs(3);
/// What an attempt needs at least before its program begins.
const PROBE_BYTES: usize = 64 * 1024;

impl CommandExecutor {
    /// The outcome of an attempt that could not be started here.
    pub(super) fn not_started(&self, what: &str, error: &io::Error) -> Outcome {
        let message = format!("{what}: {error}");
        tracing::error!(why = message, "tasks cannot be started on this host");
        self.host.set_trouble(Some(message.clone()));
        self.cannot_start.store(true, Ordering::Relaxed);
        let mut outcome = Outcome::released(FailureReason::NotStarted, message);
        if let Outcome::Released { delay, elsewhere, .. } = &mut outcome {
            (*delay, *elsewhere) = (Some(PAUSE), true);
        }
        outcome
    }

    /// Waits, after one could not be started, until the next one may.
    pub(super) async fn until_startable(&self) {
        while self.cannot_start.load(Ordering::Relaxed) {
            tokio::time::sleep(PAUSE).await;
            let attempts = self.attempts.clone();
            let probing = tokio::task::spawn_blocking(move || probe(&attempts)).await;
            match probing.map_err(io::Error::other).and_then(|probed| probed) {
                Ok(()) => {
                    self.cannot_start.store(false, Ordering::Relaxed);
                    self.host.set_trouble(None);
                }
                Err(error) => tracing::warn!(%error, "the disk still takes nothing"),
            }
        }
    }
}

fn probe(attempts: &Path) -> io::Result<()> {
    let path = attempts.join(".probe");
    let written = fs::write(&path, vec![b' '; PROBE_BYTES]);
    let removed = fs::remove_file(&path);
    written.and(removed)
}

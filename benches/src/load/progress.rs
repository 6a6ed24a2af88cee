//! How far workers are with a known number of tasks.

use crate::error::BenchError;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Workers that complete nothing for so long will not go on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts completions up to a number.
pub struct Progress {
    wanted: u64,
    done: AtomicU64,
    reached: CancellationToken,
}

impl Progress {
    pub fn until(wanted: u64) -> Arc<Self> {
        let reached = CancellationToken::new();
        Arc::new(Self { wanted, done: AtomicU64::new(0), reached })
    }

    /// Notes completions.
    pub fn add(&self, count: u64) {
        let before = self.done.fetch_add(count, Ordering::Relaxed);
        if before + count >= self.wanted {
            self.reached.cancel();
        }
    }

    /// Cancelled when the number is reached.
    pub fn reached(&self) -> &CancellationToken {
        &self.reached
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until the number is reached; an error when nothing comes for too long.
    pub async fn wait(&self) -> Result<(), BenchError> {
        loop {
            let before = self.done();
            let waiting = tokio::time::timeout(PATIENCE, self.reached.cancelled()).await;
            match waiting {
                Ok(()) => return Ok(()),
                Err(_) if self.done() > before => {}
                Err(_) => {
                    let text = format!("{before} of {} tasks, then nothing", self.wanted);
                    return Err(BenchError::Other(text));
                }
            }
        }
    }
}

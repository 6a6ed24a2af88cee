//! The only place of this crate that reads a clock.

use std::{thread, time::Duration};
use tokio::time::Instant;

/// The grain of the runtime's timer, with a little room.
const GRAIN: Duration = Duration::from_millis(2);
/// Less than this is not slept: giving up the processor alone takes as long.
const SHORTEST: Duration = Duration::from_micros(100);

/// A monotonic point in time. It is the runtime's clock, which tests can stop.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[expect(clippy::disallowed_methods, reason = "the one place where this crate reads a clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until `at` has passed. The runtime's timer rounds up to milliseconds, which is half of
    /// what a create takes; the rest of a wait is therefore slept by a thread.
    pub async fn until(self, at: Duration) {
        let left = at.saturating_sub(self.elapsed());
        if cfg!(test) {
            return tokio::time::sleep(left).await;
        }
        if left > GRAIN {
            tokio::time::sleep(left - GRAIN).await;
        }
        let left = at.saturating_sub(self.elapsed());
        if left > SHORTEST {
            // It can only fail when the runtime ends, and this with it.
            let _ = tokio::task::spawn_blocking(move || thread::sleep(left)).await;
        }
    }
}

//! The only place of this crate that reads a clock.

use std::time::{Duration, Instant};

/// A monotonic point in time, for durations only.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this module is the crate's clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since [`start`](Self::start).
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

//! The only place of this crate that reads a clock.

use std::time::{Duration, Instant};

/// A monotonic point in time.
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

    /// Prints after what time this has happened, for who runs the test by hand: how soon that is
    /// depends on the machine, so that no test can judge it.
    pub fn tell(self, what: &str) {
        println!("{what} after {:.1} s", self.elapsed().as_secs_f64());
    }
}

//! The only place of this crate that reads a clock.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A monotonic clock; cheap to clone, injected so that tests move it by hand.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// This process's monotonic clock, from now.
    #[expect(clippy::disallowed_methods, reason = "the one place where this crate reads a clock")]
    pub fn system() -> Self {
        let origin = Instant::now();
        Self(Arc::new(move || origin.elapsed()))
    }

    /// The time since some fixed moment. Never goes back.
    pub fn elapsed(&self) -> Duration {
        (self.0)()
    }
}

/// The host's Unix time in milliseconds: for what people read, never for a decision.
#[expect(clippy::disallowed_methods, reason = "the one place where this crate reads a clock")]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whole milliseconds, at most `i64::MAX`.
pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod manual {
    use super::Clock;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    /// Moves a [`Clock`] by hand.
    #[derive(Clone, Default)]
    pub(crate) struct Hand(Arc<AtomicU64>);

    impl Hand {
        pub fn clock(&self) -> Clock {
            let ms = Arc::clone(&self.0);
            Clock(Arc::new(move || Duration::from_millis(ms.load(Ordering::SeqCst))))
        }

        pub fn advance(&self, by: Duration) {
            self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
        }
    }
}

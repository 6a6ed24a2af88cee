//! The only place of this crate that reads a clock: the monotonic one, beside the database's.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// A sample of the database's clock is good for this long.
const SAMPLE_MAX_AGE: Duration = Duration::from_secs(5);

/// The monotonic time of this process.
#[expect(clippy::disallowed_methods, reason = "the one place where this crate reads a clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// What the database's clock said, and when we heard it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    database_ms: i64,
    heard: Instant,
}

/// The database's clock between two looks at it.
#[derive(Debug, Default)]
pub(crate) struct DatabaseClock(Mutex<Option<Sample>>);

impl DatabaseClock {
    /// The database's time, unless the last sample is too old.
    pub fn estimate_ms(&self) -> Option<i64> {
        let sample = (*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        let age = monotonic().duration_since(sample.heard);
        (age < SAMPLE_MAX_AGE).then(|| sample.database_ms.saturating_add(age.as_millis() as i64))
    }

    /// Notes what the database's clock says now.
    pub fn heard(&self, database_ms: i64) {
        let sample = Sample { database_ms, heard: monotonic() };
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(sample);
    }
}

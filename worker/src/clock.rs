//! The only place of this crate that reads a clock.

use std::time::{Duration, SystemTime};

/// How long ago `then` was by the wall clock; zero if it lies ahead. Only for cleaning up.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn age(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}

//! The only place of this crate that reads a clock. Both are used for waiting and for metrics only;
//! what decides anything about a task is the database's clock.

use std::time::Duration;

use tokio::time::Instant;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Instant {
    Instant::now()
}

/// The moment `wait_ms` from now.
pub fn in_ms(wait_ms: i64) -> Instant {
    now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
}

//! The only place of this crate that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix milliseconds by this computer's clock, for "3m ago" and `--delay`.
#[expect(clippy::disallowed_methods, reason = "this module is the crate's clock")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! The only place of this crate that reads a clock.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long ago `then` was by the wall clock; zero if it lies ahead. Only for cleaning up.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn age(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}

/// The monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now in Unix milliseconds, carried on by the monotonic clock from the time when it was asked
/// first: so it compares with times of other hosts, and does not jump.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn steady_ms() -> i64 {
    static ANCHOR: OnceLock<(Instant, i64)> = OnceLock::new();
    let (instant, wall_ms) = ANCHOR.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), whole_ms(since_epoch))
    });
    wall_ms.saturating_add(whole_ms(instant.elapsed()))
}

fn whole_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

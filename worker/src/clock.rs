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

/// How long the machine is up, sleep included, to a hundredth of a second: the same for all
/// processes, so that a limit holds across them. Zero where the system does not say.
pub fn since_boot() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

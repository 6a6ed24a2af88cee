//! The only place of this crate that reads a clock.

use std::time::{Duration, SystemTime};

/// How long ago `then` was by the wall clock; zero if it lies ahead. Only for cleaning up.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn age(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}

/// How long the machine is up, sleep included, to a hundredth of a second: the same for all
/// processes, so that a limit holds across them. Zero where the system does not say.
pub fn since_boot() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

//! What attempts and users use: the base of fair shares.

use serde::{Deserialize, Serialize};

/// What an attempt has used, as far as its worker could measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttemptUsage {
    pub host: String,
    /// UUIDs of the GPUs that it had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// For how long, times how many; a share of a GPU counts by its share of the memory.
    pub gpu_seconds: f64,
    pub gpu_utilization_percent: f64,
    pub gpu_memory_peak_bytes: i64,
    pub cpu_seconds: f64,
    pub memory_peak_bytes: i64,
    pub code_commit: String,
    pub code_changed: bool,
    pub log_dropped_bytes: i64,
}

/// What a user has used. Milliseconds, so that sums are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserUsage {
    pub gpu_ms: i64,
    pub cpu_ms: i64,
    /// Attempts that ended.
    pub attempts: i64,
}

impl UserUsage {
    /// What one attempt adds.
    pub fn of(attempt: &AttemptUsage) -> Self {
        let gpu_ms = ms(attempt.gpu_seconds);
        Self { gpu_ms, cpu_ms: ms(attempt.cpu_seconds), attempts: 1 }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.gpu_ms = self.gpu_ms.saturating_add(other.gpu_ms);
        self.cpu_ms = self.cpu_ms.saturating_add(other.cpu_ms);
        self.attempts = self.attempts.saturating_add(other.attempts);
    }
}

/// A year on 64 GPUs; no attempt runs longer.
const SECONDS_MAX: f64 = 64.0 * 366.0 * 86_400.0;

fn ms(seconds: f64) -> i64 {
    // NaN becomes 0.
    (seconds.clamp(0.0, SECONDS_MAX) * 1_000.0).round() as i64
}

const DAY_MS: i64 = 86_400_000;

/// Half of what was used is forgotten after so many days.
pub const HALF_LIFE_DAYS: i32 = 7;
/// What is older weighs less than a thousandth.
pub const DECAYED_DAYS_MAX: i32 = 10 * HALF_LIFE_DAYS;

/// The day of a time: days since 1970, UTC.
pub fn day(time_ms: i64) -> i32 {
    i32::try_from(time_ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}

/// How much of what was used on `day` still counts on the day `today`.
pub fn weight(day: i32, today: i32) -> f64 {
    let age = f64::from(today.saturating_sub(day).max(0));
    (-age / f64::from(HALF_LIFE_DAYS)).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_forgotten_every_week() {
        assert_eq!(weight(100, 100), 1.0);
        assert_eq!(weight(100, 107), 0.5);
        assert_eq!(weight(100, 121), 0.125);
        assert_eq!(weight(101, 100), 1.0, "a clock that was set back");
        assert!(weight(0, DECAYED_DAYS_MAX) < 0.001);
    }

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!((day(0), day(DAY_MS - 1), day(DAY_MS), day(-1)), (0, 0, 1, -1));
    }

    #[test]
    fn what_cannot_be_is_not_charged() {
        let seconds = |gpu_seconds| {
            UserUsage::of(&AttemptUsage { gpu_seconds, ..AttemptUsage::default() }).gpu_ms
        };
        assert_eq!(seconds(1.5), 1_500);
        assert_eq!(seconds(-1.0), 0);
        assert_eq!(seconds(f64::NAN), 0);
        assert!(seconds(f64::INFINITY) < i64::MAX / 1_000_000);
    }
}

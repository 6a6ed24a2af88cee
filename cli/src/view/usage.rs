//! What a user has used.

use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::{time::duration, v1::UserUsage};
use serde::Serialize;

/// See the protocol's `UserUsage`.
#[derive(Debug, Serialize)]
pub struct UsageView {
    user: String,
    gpu_seconds: f64,
    cpu_seconds: f64,
    attempts: i64,
    gpus_now: f64,
    decayed_gpu_seconds: f64,
}

impl From<UserUsage> for UsageView {
    fn from(usage: UserUsage) -> Self {
        Self {
            user: usage.user,
            gpu_seconds: usage.gpu_seconds,
            cpu_seconds: usage.cpu_seconds,
            attempts: usage.attempts,
            gpus_now: usage.gpus_now,
            decayed_gpu_seconds: usage.decayed_gpu_seconds,
        }
    }
}

impl View for UsageView {
    const COLUMNS: &'static [&'static str] =
        &["USER", "GPU TIME", "CORE TIME", "ATTEMPTS", "GPUS NOW", "SHARE"];

    fn id(&self) -> String {
        self.user.clone()
    }

    fn row(&self, _: Look) -> Vec<String> {
        vec![
            self.user.clone(),
            seconds_for_people(self.gpu_seconds),
            seconds_for_people(self.cpu_seconds),
            self.attempts.to_string(),
            format!("{}", (self.gpus_now * 100.0).round() / 100.0),
            seconds_for_people(self.decayed_gpu_seconds),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["user", "GPU time", "core time", "attempts", "GPUs now", "share"];
        names.into_iter().zip(self.row(look)).collect()
    }
}

/// `1h 30m 5s`; below ten seconds with tenths.
fn seconds_for_people(seconds: f64) -> String {
    if seconds.is_nan() || seconds <= 0.0 {
        return "0s".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    time::span_for_people(&duration((seconds.min(1e12) as i64).saturating_mul(1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_units_that_fit() {
        for (seconds, text) in [
            (0.0, "0s"),
            (f64::NAN, "0s"),
            (-1.0, "0s"),
            (1.25, "1.2s"),
            (5_405.7, "1h 30m 5s"),
            (90_000.0, "1day 1h"),
        ] {
            assert_eq!(seconds_for_people(seconds), text);
        }
    }
}

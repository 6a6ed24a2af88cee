//! The only place of this crate that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock in Unix milliseconds; only for time stamps that people read.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn wall_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// `base` × a random factor in 0.5..1.5, so that many who were cut off together come back spread.
pub fn jittered(base: Duration) -> Duration {
    base.mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::{Duration, jittered};

    /// Else they would be refused together, and come again together.
    #[test]
    fn five_hundred_who_were_cut_off_together_come_back_spread() {
        let mut in_tenths = [0; 10];
        for _ in 0..500 {
            let wait_ms = jittered(Duration::from_secs(1)).as_millis();
            assert!((500..1_500).contains(&wait_ms), "{wait_ms}");
            in_tenths[(wait_ms as usize - 500) / 100] += 1;
        }
        // 50 are to be expected; twice as many do not come in 10^9 runs.
        assert!(in_tenths.iter().all(|count| *count < 100), "{in_tenths:?}");
    }
}

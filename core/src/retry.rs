//! Retry budgets and back-off: 1, 2, 4, 8 … times the interval, capped.

use serde::{Deserialize, Serialize};

/// How often and how soon a failed task is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Failures after the first that are retried; 0 = never retried.
    pub max_retries: i32,
    /// The wait before the first retry, in milliseconds.
    pub interval_ms: i64,
    /// The wait never grows beyond this, in milliseconds.
    pub max_interval_ms: i64,
}

/// A change of some fields of a policy; `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_interval_ms: Option<i64>,
}

impl RetryPolicy {
    /// The wait before the retry that follows failure number `failures` (1 = the first failure), in
    /// milliseconds. The first wait is `interval_ms` itself; it never decreases with `failures`.
    pub fn back_off_ms(&self, failures: i32) -> i64 {
        let doublings = failures.saturating_sub(1).clamp(0, 62) as u32;
        self.interval_ms.saturating_mul(1_i64 << doublings).clamp(0, self.max_interval_ms.max(0))
    }

    /// Whether failure number `failures` may be followed by another attempt.
    pub fn allows(&self, failures: i32) -> bool {
        failures <= self.max_retries
    }

    /// The policy with the fields of `patch`. `interval_ms <= max_interval_ms` holds afterwards:
    /// the bound that the patch does not name gives way.
    pub fn patched(&self, patch: &RetryPatch) -> Self {
        let mut interval_ms = patch.interval_ms.unwrap_or(self.interval_ms);
        let mut max_interval_ms = patch.max_interval_ms.unwrap_or(self.max_interval_ms);
        if patch.max_interval_ms.is_some() {
            interval_ms = interval_ms.min(max_interval_ms);
        } else {
            max_interval_ms = max_interval_ms.max(interval_ms);
        }
        let max_retries = patch.max_retries.unwrap_or(self.max_retries);
        Self { max_retries, interval_ms, max_interval_ms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_wait_is_the_interval_and_then_it_doubles() {
        let policy = RetryPolicy { max_retries: 9, interval_ms: 1_000, max_interval_ms: 10_000 };
        let waits: Vec<i64> = (1..=6).map(|failures| policy.back_off_ms(failures)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }

    proptest! {
        #[test]
        fn back_off_is_monotone_and_capped(
            interval_ms in 1..=crate::limits::DURATION_MS_MAX,
            more_ms in 0..=crate::limits::DURATION_MS_MAX,
            failures in 1..i32::MAX,
        ) {
            let max_interval_ms = interval_ms + more_ms;
            let policy = RetryPolicy { max_retries: 0, interval_ms, max_interval_ms };
            prop_assert_eq!(policy.back_off_ms(1), interval_ms);
            prop_assert!(policy.back_off_ms(failures) <= policy.back_off_ms(failures + 1));
            prop_assert!(policy.back_off_ms(failures) <= max_interval_ms);
        }

        #[test]
        fn a_patched_policy_keeps_its_bounds_in_order(
            interval_ms in proptest::option::of(1..100_i64),
            max_interval_ms in proptest::option::of(100..200_i64),
        ) {
            let policy = RetryPolicy { max_retries: 1, interval_ms: 50, max_interval_ms: 60 };
            let patch = RetryPatch { max_retries: None, interval_ms, max_interval_ms };
            let patched = policy.patched(&patch);
            prop_assert!(patched.interval_ms <= patched.max_interval_ms);
            prop_assert_eq!(patched.interval_ms, interval_ms.unwrap_or(50));
        }
    }
}

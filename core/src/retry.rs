//! Retry budgets and back-off: 1, 2, 4, 8 … times the interval, capped.

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
}

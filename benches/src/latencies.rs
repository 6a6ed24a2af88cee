//! Latencies as a histogram: microseconds with three digits that matter.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

const DIGITS: u8 = 3;
/// What takes longer counts as an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// How long things took.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// What is told of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Default for Latencies {
    #[expect(clippy::expect_used, reason = "fails for other bounds only")]
    fn default() -> Self {
        let histogram = Histogram::new_with_max(MICROS_MAX, DIGITS);
        Self(histogram.expect("invariant: at most five digits and at least 2 as the largest value"))
    }
}

impl Latencies {
    pub fn record(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.saturating_record(micros);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// What this share of them did not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    /// `None` when there is none.
    pub fn quantiles(&self) -> Option<Quantiles> {
        (self.count() > 0).then(|| Quantiles {
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: self.0.max() as f64 / 1_000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ones_keep_three_digits() {
        let mut latencies = Latencies::default();
        for ms in [1, 20, 300, 60_000] {
            latencies.record(Duration::from_millis(ms));
        }
        let near = |share: f64, ms: f64| {
            let found = latencies.quantile_ms(share);
            assert!((found / ms - 1.0).abs() < 0.002, "{found} is not {ms}");
        };
        near(0.25, 1.0);
        near(0.5, 20.0);
        near(0.75, 300.0);
        near(1.0, 60_000.0);
        assert!(Latencies::default().quantiles().is_none());
    }
}

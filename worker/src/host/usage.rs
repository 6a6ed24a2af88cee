//! What an attempt has used of its GPUs.

use asyncflow_sdk::v1::AttemptUsage;

/// A span that nobody looked into is not longer than this.
const SPAN_MAX_MS: i64 = 60_000;

/// Adds up over the looks.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    begun_ms: i64,
    looked_ms: i64,
    /// Percent, times milliseconds.
    worked: f64,
    counted_ms: f64,
    memory_peak_bytes: i64,
    /// At the last look.
    pub percent_now: i32,
    /// At the last look, on all its GPUs.
    pub memory_now_bytes: i64,
}

/// How the GPUs of an attempt are at a look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Mean of its GPUs; `None` if it cannot be measured.
    pub percent: Option<i32>,
    /// On all of them.
    pub memory_bytes: i64,
    /// On the one where it holds the most.
    pub memory_most_bytes: i64,
}

impl Meter {
    /// Nothing yet.
    pub fn begun(now_ms: i64) -> Self {
        Self::resumed(now_ms, now_ms)
    }

    /// Of an attempt that began before this process, which looks from now on.
    pub fn resumed(begun_ms: i64, now_ms: i64) -> Self {
        Self { begun_ms, looked_ms: now_ms, ..Self::default() }
    }

    /// Takes in a look.
    pub fn read(&mut self, now_ms: i64, reading: Reading) {
        let span_ms = (now_ms - self.looked_ms).clamp(0, SPAN_MAX_MS) as f64;
        self.looked_ms = now_ms;
        if let Some(percent) = reading.percent {
            self.worked += span_ms * f64::from(percent);
            self.counted_ms += span_ms;
        }
        self.memory_peak_bytes = self.memory_peak_bytes.max(reading.memory_most_bytes);
        self.percent_now = reading.percent.unwrap_or_default();
        self.memory_now_bytes = reading.memory_bytes;
    }

    /// The sum until now. `gpus_held` counts a share by its part of the memory.
    pub fn usage(&self, now_ms: i64, gpus_held: f64) -> AttemptUsage {
        let ms = (now_ms - self.begun_ms).max(0) as f64;
        let mean = if self.counted_ms > 0.0 { self.worked / self.counted_ms } else { 0.0 };
        AttemptUsage {
            gpu_seconds: ms / 1_000.0 * gpus_held,
            gpu_utilization_percent: mean,
            gpu_memory_peak_bytes: self.memory_peak_bytes,
            ..AttemptUsage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, Reading};

    #[test]
    fn adds_up_what_was_seen() {
        let mut meter = Meter::begun(1_000);
        let reading =
            |percent, memory| Reading { percent, memory_bytes: memory, memory_most_bytes: memory };
        meter.read(3_000, reading(Some(100), 7));
        meter.read(5_000, reading(Some(50), 3));
        meter.read(9_000, reading(None, 3));
        let usage = meter.usage(11_000, 2.0);
        assert_eq!(usage.gpu_seconds.to_string(), "20");
        assert_eq!(usage.gpu_utilization_percent.to_string(), "75");
        assert_eq!((usage.gpu_memory_peak_bytes, meter.memory_now_bytes), (7, 3));
    }
}

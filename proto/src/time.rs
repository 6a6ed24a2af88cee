//! Timestamps and durations on the wire ↔ milliseconds inside.

use prost_types::{Duration, Timestamp};

const NANOS_PER_MS: i32 = 1_000_000;
const NANOS_MAX: i32 = 999_999_999;

/// Unix milliseconds → timestamp.
pub fn timestamp(unix_ms: i64) -> Timestamp {
    Timestamp {
        seconds: unix_ms.div_euclid(1_000),
        nanos: unix_ms.rem_euclid(1_000) as i32 * NANOS_PER_MS,
    }
}

/// Timestamp → Unix milliseconds, rounded down; `None` if it is malformed or out of range.
pub fn timestamp_ms(time: &Timestamp) -> Option<i64> {
    if !(0..=NANOS_MAX).contains(&time.nanos) {
        return None;
    }
    time.seconds.checked_mul(1_000)?.checked_add(i64::from(time.nanos / NANOS_PER_MS))
}

/// Milliseconds → duration.
pub fn duration(ms: i64) -> Duration {
    Duration { seconds: ms / 1_000, nanos: (ms % 1_000) as i32 * NANOS_PER_MS }
}

/// Duration → milliseconds, rounded towards zero; `None` if it is malformed (nanos out of range or
/// of the other sign) or out of range.
pub fn duration_ms(span: &Duration) -> Option<i64> {
    let signs_agree =
        span.seconds == 0 || span.nanos == 0 || (span.seconds > 0) == (span.nanos > 0);
    if !signs_agree || !(-NANOS_MAX..=NANOS_MAX).contains(&span.nanos) {
        return None;
    }
    span.seconds.checked_mul(1_000)?.checked_add(i64::from(span.nanos / NANOS_PER_MS))
}

#[cfg(test)]
mod tests {
    use super::{Duration, Timestamp, duration, duration_ms, timestamp, timestamp_ms};

    #[test]
    fn round_trips_also_before_the_epoch() {
        for ms in [-1_500, -1, 0, 1, 999, 1_000, 1_767_225_600_123] {
            assert_eq!(timestamp_ms(&timestamp(ms)), Some(ms));
            assert_eq!(duration_ms(&duration(ms)), Some(ms));
        }
    }

    #[test]
    fn malformed_values_are_none() {
        assert_eq!(timestamp_ms(&Timestamp { seconds: 0, nanos: 1_000_000_000 }), None);
        assert_eq!(timestamp_ms(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(duration_ms(&Duration { seconds: 1, nanos: -1 }), None);
        assert_eq!(duration_ms(&Duration { seconds: i64::MAX, nanos: 0 }), None);
    }
}

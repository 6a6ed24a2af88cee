//! Durations and points in time, in milliseconds.

use super::at::At;
use crate::{
    limits::{DURATION_MS_MAX, NOT_BEFORE_AHEAD_MS_MAX},
    violation::Violations,
};

const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// A duration on the wire as milliseconds, cut towards zero. Both parts must have the same sign.
pub fn duration_parts_ms(
    seconds: i64,
    nanos: i32,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<i64> {
    let signs_agree = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    if !signs_agree || nanos.unsigned_abs() >= NANOS_PER_SECOND.unsigned_abs() {
        let what = format!(
            "seconds {seconds} with nanos {nanos} is not a duration; nanos are −999,999,999 to \
             999,999,999 and have the sign of the seconds"
        );
        violations.add(at, what);
        return None;
    }
    Some(seconds.saturating_mul(1_000).saturating_add(i64::from(nanos / 1_000_000)))
}

/// A timestamp on the wire as Unix milliseconds, cut downwards.
pub fn timestamp_parts_ms(
    seconds: i64,
    nanos: i32,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<i64> {
    if !(0..NANOS_PER_SECOND).contains(&nanos) {
        violations.add(at, format!("nanos {nanos} is out of range; 0 to 999,999,999"));
        return None;
    }
    Some(seconds.saturating_mul(1_000).saturating_add(i64::from(nanos / 1_000_000)))
}

/// A duration of 1 ms to 365 days.
pub fn duration(value_ms: i64, at: At<'_>, violations: &mut Violations) {
    if !(1..=DURATION_MS_MAX).contains(&value_ms) {
        violations.add(at, format!("{} is out of range; 1 ms to 365 days", shown_ms(value_ms)));
    }
}

/// A duration of 0 to 365 days.
pub fn duration_or_zero(value_ms: i64, at: At<'_>, violations: &mut Violations) {
    if value_ms != 0 {
        duration(value_ms, at, violations);
    }
}

/// A time before which a task is not claimed: 1970 to ten years after `now_ms`. The past is allowed
/// and means at once.
pub fn not_before(value_ms: i64, now_ms: i64, at: At<'_>, violations: &mut Violations) {
    if value_ms < 0 {
        let what = format!("{value_ms} ms lies before 1970; 1970 to ten years ahead");
        violations.add(at, what);
    } else if value_ms > now_ms.saturating_add(NOT_BEFORE_AHEAD_MS_MAX) {
        let days = (value_ms - now_ms) / 86_400_000;
        let what = format!("{days} days ahead is too far; at most 3,650 days (ten years)");
        violations.add(at, what);
    }
}

fn shown_ms(value_ms: i64) -> String {
    match value_ms.unsigned_abs() {
        0..1_000 => format!("{value_ms} ms"),
        1_000..86_400_000 => format!("{} s", value_ms / 1_000),
        _ => format!("{} days", value_ms / 86_400_000),
    }
}

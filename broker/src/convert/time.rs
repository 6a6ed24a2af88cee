//! Times and durations of requests, with the place where a malformed one stands.

use asyncflow_core::{
    validate::{at::At, time},
    violation::Violations,
};
use prost_types::{Duration, Timestamp};

/// A duration of a request in milliseconds; a malformed one is a violation.
pub fn duration_ms(
    span: Option<&Duration>,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<i64> {
    span.and_then(|span| time::duration_parts_ms(span.seconds, span.nanos, at, violations))
}

/// A timestamp of a request in Unix milliseconds; a malformed one is a violation.
pub fn timestamp_ms(
    stamp: Option<&Timestamp>,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<i64> {
    stamp.and_then(|stamp| time::timestamp_parts_ms(stamp.seconds, stamp.nanos, at, violations))
}

//! Numbers between two bounds.

use std::ops::RangeInclusive;

use super::at::At;
use crate::violation::Violations;

/// `value` must lie in `allowed`.
pub fn in_range(
    value: impl Into<i64>,
    allowed: RangeInclusive<i64>,
    at: At<'_>,
    violations: &mut Violations,
) {
    let value = value.into();
    if !allowed.contains(&value) {
        let what = format!("{value} is out of range; {} to {}", allowed.start(), allowed.end());
        violations.add(at, what);
    }
}

/// A list must have `allowed` items.
pub fn item_count(
    count: usize,
    allowed: RangeInclusive<usize>,
    at: At<'_>,
    violations: &mut Violations,
) {
    if !allowed.contains(&count) {
        let what = format!("has {count} items; {} to {}", allowed.start(), allowed.end());
        violations.add(at, what);
    }
}

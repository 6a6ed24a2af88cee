//! Pages and waits.

use super::at::At;
use crate::{
    limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, WAIT_MS_MAX},
    violation::Violations,
};

/// The size of a page: 0 = the default, too large is clamped, negative is refused.
pub fn page_size(value: i32, violations: &mut Violations) -> i32 {
    match value {
        0 => PAGE_SIZE_DEFAULT,
        1.. => value.min(PAGE_SIZE_MAX),
        _ => {
            let what = format!("{value} is negative; 0 (= {PAGE_SIZE_DEFAULT}) to {PAGE_SIZE_MAX}");
            violations.add(At::REQUEST.field("page_size"), what);
            PAGE_SIZE_DEFAULT
        }
    }
}

/// How long a call may wait: 0 to 60 s, or `default_ms`.
pub fn wait_ms(
    value_ms: Option<i64>,
    default_ms: i64,
    at: At<'_>,
    violations: &mut Violations,
) -> i64 {
    let value_ms = value_ms.unwrap_or(default_ms);
    if !(0..=WAIT_MS_MAX).contains(&value_ms) {
        violations.add(at, format!("{value_ms} ms is out of range; 0 to {WAIT_MS_MAX} ms"));
    }
    value_ms.clamp(0, WAIT_MS_MAX)
}

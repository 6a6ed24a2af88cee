//! `order_time`: in which order the rows of a state are taken, in milliseconds.
//!
//! | state | order_time |
//! |---|---|
//! | PENDING | create time − priority · 1,000, or for a promoted task due time − priority · 1,000 |
//! | SCHEDULED | the due time |
//! | RUNNING, CANCELLING | the lease's expiry |
//! | PAUSED, BLOCKED | when it entered the state |
//! | terminal | the finish time |
//!
//! A claim has no time predicate, so that no priority can make a delayed task run early.

/// How much seniority one point of priority is worth.
pub const PRIORITY_POINT_MS: i64 = 1_000;

/// The order of a PENDING task that became ready at `ready_ms`.
pub const fn pending_order_ms(ready_ms: i64, priority: i32) -> i64 {
    ready_ms.saturating_sub((priority as i64).saturating_mul(PRIORITY_POINT_MS))
}

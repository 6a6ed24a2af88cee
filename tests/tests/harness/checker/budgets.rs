//! Failures and lost workers beyond what a task may have, and retries that come early.

use crate::sample::{FAILED_ONCE, OK, REDONE, caught};

#[test]
fn a_failure_too_many_is_seen() {
    caught(&["I11"], "run 0 failed 1 times with -1 retries", |history| {
        history.rows[FAILED_ONCE].retry.max_retries = -1;
    });
}

#[test]
fn a_lost_worker_too_many_is_seen() {
    caught(&["I11"], "run 0 lost 1 workers, and may lose -1", |history| {
        history.rows[REDONE].max_crashes = Some(-1);
    });
}

#[test]
fn a_retry_that_comes_early_is_seen() {
    caught(&["I11"], "after failure 1, not 1000", |history| {
        history.rows[FAILED_ONCE].retry.interval_ms = 1_000;
        history.rows[FAILED_ONCE].retry.max_interval_ms = 1_000;
    });
}

#[test]
fn a_failure_that_is_not_counted_is_seen() {
    caught(&["I11"], "its row counts 1 failures and 0 lost workers", |history| {
        history.rows[OK].failures = 1;
    });
}

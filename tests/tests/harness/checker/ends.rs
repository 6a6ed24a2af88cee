//! Ends that come twice, are gone, or are not what the worker said.

use crate::sample::{OK, caught, create, mark, read, state};

#[test]
fn two_ends_of_a_run_are_seen() {
    caught(&["I2", "I3", "I10"], "ends as SUCCEEDED with 2:1", |history| {
        let mut other = history.rows[OK].clone();
        (other.state, other.result) = (state("FAILED"), None);
        history.calls.push(read(&other, 90));
    });
}

#[test]
fn an_attempt_after_the_last_is_seen() {
    caught(&["I2", "I3", "I9"], "and attempt 2 is of that run, too", |history| {
        let mut again = history.attempts[OK].clone();
        (again.attempt, again.claim_ms, again.end_ms) = (2, again.end_ms, again.end_ms + 1);
        history.attempts.push(again);
    });
}

#[test]
fn a_run_that_goes_on_after_its_end_is_seen() {
    caught(&["I2", "I3"], "and then is RUNNING", |history| {
        let mut again = history.rows[OK].clone();
        (again.state, again.result) = (state("RUNNING"), None);
        history.calls.push(read(&again, 90));
    });
}

#[test]
fn another_result_than_the_worker_returned_is_seen() {
    caught(&["I9", "I10"], "and its result is 1:1", |history| {
        history.rows[OK].result = Some(mark("1:1"));
    });
}

#[test]
fn a_success_without_an_end_is_seen() {
    caught(&["I9"], "never came to its end", |history| {
        let id = history.rows[OK].id.clone();
        history.records.retain(|record| record.task != id);
    });
}

#[test]
fn an_acknowledged_end_that_is_gone_is_seen() {
    caught(&["I3", "I10"], "it was told to be SUCCEEDED", |history| {
        (history.rows[OK].state, history.rows[OK].result) = (state("FAILED"), None);
    });
}

#[test]
fn a_task_that_never_ends_is_seen() {
    caught(&["I12"], "it is still PENDING", |history| {
        let mut stuck = history.rows[OK].clone();
        stuck.id = "work-1-0000000000009".to_owned();
        stuck.request_id = "r-stuck".to_owned();
        (stuck.state, stuck.attempt, stuck.result) = (state("PENDING"), 0, None);
        (stuck.context, stuck.context_version) = (None, 0);
        let create = create("r-stuck", &stuck.id);
        history.calls.push(create);
        history.rows.push(stuck);
    });
}

//! Attempts that are missing, out of order, issued twice or taken back from the living.

use asyncflow_tests::checker::Kind;

use crate::sample::{OK, REDONE, caught, read};

#[test]
fn a_missing_attempt_is_seen() {
    caught(&["I4", "I11"], "attempt 2 stands where 1 should", |history| {
        let id = history.rows[REDONE].id.clone();
        history.attempts.retain(|one| one.task != id || one.attempt != 1);
    });
}

#[test]
fn a_claim_before_the_end_of_the_last_attempt_is_seen() {
    caught(&["I4"], "attempt 2 was claimed 5 ms before attempt 1 had ended", |history| {
        let id = history.rows[REDONE].id.clone();
        let first = history.attempts.iter().find(|one| one.task == id && one.attempt == 1);
        let end_ms = first.map_or(0, |one| one.end_ms);
        let second = history.attempts.iter_mut().find(|one| one.task == id && one.attempt == 2);
        if let Some(second) = second {
            second.claim_ms = end_ms - 5;
        }
    });
}

#[test]
fn an_attempt_of_two_workers_is_seen() {
    caught(&["I4"], "attempt 1 belongs to worker-1 (call", |history| {
        let mut row = history.rows[OK].clone();
        row.worker = "worker-1".to_owned();
        history.calls.retain(|call| !matches!(call.kind, Kind::Read { .. }));
        history.calls.push(read(&row, 90));
    });
}

#[test]
fn an_attempt_that_is_started_twice_is_seen() {
    caught(&["I4"], "attempt 1 is started twice, by processes 10 and 99", |history| {
        let mut again = history.records[0].clone();
        (again.line, again.pid) = (99, 99);
        history.records.push(again);
    });
}

#[test]
fn a_task_that_is_taken_from_the_living_is_seen() {
    caught(&["I4"], "from worker-0, to which nothing was done", |history| {
        history.faults[0].workers.clear();
    });
}

#[test]
fn a_fault_at_another_time_excuses_nothing() {
    caught(&["I4"], "from worker-0, to which nothing was done", |history| {
        (history.faults[0].from_ms, history.faults[0].to_ms) = (10, 20);
    });
}

//! Steps that the state machine does not have, and rows that tell another story than attempts.

use asyncflow_core::task::AttemptOutcome;
use asyncflow_tests::checker::Kind;

use crate::sample::{OK, REDONE, caught, mark, read, state};

#[test]
fn a_step_that_is_no_edge_is_seen() {
    caught(&["I3"], "then RUNNING in attempt 2 of run 0", |history| {
        let mut row = history.rows[REDONE].clone();
        (row.state, row.attempt, row.result) = (state("RUNNING"), 2, None);
        let running = read(&row, 40);
        row.state = state("PENDING");
        history.calls.push(read(&row, 35));
        history.calls.push(running);
        history.calls.sort_by_key(|call| call.invoked);
    });
}

#[test]
fn an_attempt_that_goes_back_is_seen() {
    caught(&["I3"], "then RUNNING in attempt 1 of run 0", |history| {
        let mut row = history.rows[REDONE].clone();
        (row.state, row.attempt, row.result) = (state("RUNNING"), 2, None);
        let second = read(&row, 35);
        row.attempt = 1;
        row.worker = "worker-0".to_owned();
        history.calls.push(second);
        history.calls.push(read(&row, 40));
        history.calls.sort_by_key(|call| call.invoked);
    });
}

#[test]
fn a_row_that_tells_another_attempt_is_seen() {
    caught(&["I3"], "and the last that ended is 1", |history| {
        history.rows[OK].attempt = 2;
        let mark = mark("2:2");
        history.rows[OK].result = Some(mark);
        let id = history.rows[OK].id.clone();
        history.calls.retain(|call| match &call.kind {
            Kind::Read { task } => *task != id,
            _ => true,
        });
    });
}

#[test]
fn a_row_that_tells_another_end_is_seen() {
    caught(&["I3"], "has ended as Lost, and it is SUCCEEDED", |history| {
        let id = history.rows[REDONE].id.clone();
        let last = history.attempts.iter_mut().find(|one| one.task == id && one.attempt == 2);
        let last = last.unwrap_or_else(|| panic!("no second attempt"));
        last.outcome = AttemptOutcome::Lost;
        history.rows[REDONE].crashes = 2;
        history.faults[0].workers.push("worker-1".to_owned());
        history.faults[0].to_ms = 350;
    });
}

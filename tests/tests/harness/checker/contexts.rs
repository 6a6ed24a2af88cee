//! Contexts that are lost, go back, or are kept of an attempt that was replaced.

use asyncflow_tests::checker::What;

use crate::sample::{OK, REDONE, caught, good, mark, passes, read, record, state};

#[test]
fn a_save_that_is_left_out_is_seen() {
    caught(&["I8"], "version 0 of its context is 0:0, and 1 is 2:1 (the tables)", |history| {
        history.calls.retain(|call| call.invoked < 80);
        history.rows[OK].context_version = 1;
    });
}

#[test]
fn a_save_that_was_repeated_may_count_twice() {
    let mut history = good();
    history.rows[OK].context_version = 3;
    passes(&history);
}

#[test]
fn a_version_with_two_contexts_is_seen() {
    caught(&["I8"], "version 1 of its context is 1:1, and 1 is 1:0", |history| {
        let mut row = history.rows[REDONE].clone();
        (row.state, row.result) = (state("RUNNING"), None);
        (row.context_version, row.context) = (1, Some(mark("1:0")));
        row.attempt = 1;
        row.worker = "worker-0".to_owned();
        history.calls.push(read(&row, 31));
        history.calls.sort_by_key(|call| call.invoked);
    });
}

#[test]
fn a_context_that_goes_back_is_seen() {
    caught(&["I8"], "back to 1 (call", |history| {
        let mut row = history.rows[OK].clone();
        (row.context_version, row.context) = (1, Some(mark("1:1")));
        history.calls.push(read(&row, 90));
    });
}

#[test]
fn a_start_from_before_the_last_save_is_seen() {
    caught(&["I8"], "attempt 2 starts from 0:0", |history| {
        let id = history.rows[REDONE].id.clone();
        history.records.retain(|one| one.task != id || one.attempt != 2);
        for (what, line) in [("start 0:0", 91), ("save 1:2", 92), ("end 2:2", 93)] {
            history.records.push(record(line, &id, 2, what));
        }
    });
}

#[test]
fn a_start_from_what_nobody_saved_is_seen() {
    caught(&["I8"], "attempt 1 starts from 1:0 (line 1), which nobody had saved", |history| {
        history.records[0].what = What::Start(mark("1:0"));
        history.records.retain(|one| one.line != 2);
    });
}

#[test]
fn a_step_that_is_left_out_is_seen() {
    caught(&["I8"], "attempt 1 saves 2:1 (line 3) after step 0", |history| {
        history.records.retain(|one| one.line != 2);
    });
}

#[test]
fn a_context_of_a_replaced_attempt_is_seen() {
    caught(&["I6"], "2:1 was saved (call", |history| {
        let mut row = history.rows[REDONE].clone();
        (row.state, row.attempt, row.result) = (state("RUNNING"), 2, None);
        (row.context_version, row.context) = (1, Some(mark("1:1")));
        let claimed = read(&row, 34);
        (row.context_version, row.context) = (2, Some(mark("2:1")));
        let saved = read(&row, 36);
        history.calls.extend([claimed, saved]);
        history.calls.sort_by_key(|call| call.invoked);
        history.rows[REDONE].context = Some(mark("2:1"));
        let id = history.rows[REDONE].id.clone();
        history.records.retain(|one| one.task != id || one.attempt != 2);
        history.records.push(record(91, &id, 2, "end 2:2"));
        history.calls.retain(|call| call.invoked < 80);
    });
}

#[test]
fn a_result_of_a_replaced_attempt_is_seen() {
    caught(&["I6", "I9", "I10"], "the result 2:1 is of another", |history| {
        history.rows[REDONE].result = Some(mark("2:1"));
    });
}

//! Creates that are lost, doubled, or refused and there all the same.

use asyncflow_tests::checker::Told;

use crate::sample::{caught, create, good, passes, row, state};

#[test]
fn a_lost_create_is_seen() {
    caught(&["I1"], "was acknowledged, and it is there 0 times", |history| {
        history.calls.insert(0, create("r-lost", "work-1-0000000000009"));
    });
}

#[test]
fn a_row_in_two_tables_is_seen() {
    caught(&["I1"], "it is there 2 times", |history| {
        let twice = history.rows[0].clone();
        history.rows.push(twice);
    });
}

#[test]
fn a_refused_create_that_is_there_is_seen() {
    caught(&["I1"], "was refused in calls", |history| {
        let mut call = create("r-no", "work-1-0000000000009");
        call.told = Told::Refused { code: tonic::Code::InvalidArgument, message: "no".into() };
        history.calls.push(call);
        let row = row("work-1-0000000000009", "r-no", state("CANCELLED"));
        history.rows.push(row);
    });
}

#[test]
fn an_unknown_create_may_be_there_or_not() {
    let mut history = good();
    let mut call = create("r-maybe", "");
    call.told = Told::Unknown { code: tonic::Code::Unavailable, message: "cut".into() };
    history.calls.push(call);
    passes(&history);
    history.rows.push(row("work-1-0000000000009", "r-maybe", state("CANCELLED")));
    passes(&history);
}

#[test]
fn two_tasks_of_one_request_are_seen() {
    caught(&["I7"], "request r-1 has made", |history| {
        history.rows.push(row("work-1-0000000000009", "r-1", state("CANCELLED")));
    });
}

#[test]
fn two_answers_to_one_request_are_seen() {
    caught(&["I1", "I7"], "request r-1 has made", |history| {
        history.calls.push(create("r-1", "work-1-0000000000009"));
    });
}

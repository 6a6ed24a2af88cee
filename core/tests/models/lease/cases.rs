//! The configurations that are walked, and the bugs that must be found in them.

use asyncflow_core::state::TaskState;

use super::{
    Bounds, Bug, Lease, SMALL,
    rules::{ATTEMPT, CONTEXT, END, FENCE, HEARD, ORDER, REPLAY, RESULT, STEP},
};
use crate::check::{breaks, can_always_reach, holds, is_large};

fn model(bounds: Bounds) -> Lease {
    Lease { bounds, bug: None }
}

const RESTARTS: Bounds = Bounds { restarts: 1, ..SMALL };
const SAVES: Bounds = Bounds { saves: 2, ..SMALL };
const VIEWS: Bounds = Bounds { views: true, ..SMALL };
const OUTAGES: Bounds = Bounds { outages: true, ..SMALL };
const OWNERS: Bounds = Bounds { cancels: true, retries: 1, fails: true, ..SMALL };
const STARTS: Bounds = Bounds { starts_later: true, fails: true, ..SMALL };
const THREE: Bounds = Bounds { attempts: 3, ..SMALL };

#[test]
fn workers_are_killed_and_come_back() {
    holds("lease, restarts", model(RESTARTS), 25_000);
}

#[test]
fn contexts_are_saved() {
    holds("lease, saves", model(SAVES), 15_000);
}

#[test]
fn brokers_write_by_old_views() {
    holds("lease, views", model(VIEWS), 9_000);
}

#[test]
fn the_database_is_away() {
    holds("lease, outages", model(OUTAGES), 2_000);
}

#[test]
fn owners_cancel_and_retry() {
    holds("lease, owners", model(OWNERS), 20_000);
}

#[test]
fn workers_start_what_they_were_handed() {
    holds("lease, starts", model(STARTS), 6_000);
}

#[test]
fn a_third_attempt_follows() {
    holds("lease, three attempts", model(THREE), 7_000);
}

/// Takes minutes: only by `make test-models`.
#[test]
fn more_of_it_at_once() {
    if !is_large() {
        return;
    }
    holds("lease, two restarts", model(Bounds { restarts: 2, ..SMALL }), 150_000);
    holds("lease, restarts and saves", model(Bounds { saves: 1, ..RESTARTS }), 150_000);
    holds("lease, restarts and failures", model(Bounds { fails: true, ..RESTARTS }), 70_000);
    holds("lease, restarts and starts", model(Bounds { starts_later: true, ..RESTARTS }), 50_000);
    holds("lease, restarts and outages", model(Bounds { outages: true, ..RESTARTS }), 50_000);
}

#[test]
fn every_bug_is_found() {
    for (bug, bounds, broken) in [
        (Bug::CompletionById, SMALL, END),
        (Bug::CompletionById, SMALL, RESULT),
        (Bug::CompletionByState, SMALL, FENCE),
        (Bug::CompletionByState, SMALL, RESULT),
        (Bug::SaveByState, SAVES, FENCE),
        (Bug::AnySession, RESTARTS, FENCE),
        (Bug::AnyAttempt, THREE, FENCE),
        (Bug::ClaimOfAnyState, SMALL, STEP),
        (Bug::ClaimOfAnyState, SMALL, END),
        (Bug::AttemptKept, SMALL, ATTEMPT),
        (Bug::NoCompare, VIEWS, ATTEMPT),
        (Bug::NoCompare, VIEWS, END),
        (Bug::NoCompare, Bounds { views: true, saves: 1, ..SMALL }, CONTEXT),
        (Bug::NoDedupe, SMALL, REPLAY),
        (Bug::OneLook, SMALL, HEARD),
        (Bug::NoOutage, OUTAGES, HEARD),
        (Bug::ReapWithoutGuard, SMALL, HEARD),
        (Bug::ReleaseOfAnybody, RESTARTS, HEARD),
    ] {
        let model = Lease { bounds, bug: Some(bug) };
        breaks(&format!("{bug:?}"), model, broken);
    }
}

/// Why SDKs name the version that a save is made upon: without it a save which was held up on its
/// way, and repeated meanwhile, can be taken a second time, after a later one.
#[test]
fn a_save_that_names_no_version_can_bring_an_older_context_back() {
    let bounds = Bounds { names_version: false, ..SAVES };
    breaks("saves without a version", model(bounds), ORDER);
}

#[test]
fn a_task_can_always_end() {
    for (bug, bounds, is_stuck) in [
        (None, Bounds { fails: true, ..SMALL }, false),
        (None, Bounds { dies: true, ..RESTARTS }, false),
        (Some(Bug::NoReap), Bounds { dies: true, ..RESTARTS }, true),
    ] {
        let model = Lease { bounds, bug };
        let found = can_always_reach(&model, |state| {
            let is_used_up = state.row.attempt == bounds.attempts;
            state.row.state.is_terminal() || is_used_up && state.row.state == TaskState::Pending
        });
        match &found {
            Ok(states) => println!("a task can end from each of {states} states, {bug:?}"),
            Err(stuck) => println!("with {bug:?} it cannot end from {:?}", stuck.row),
        }
        assert_eq!(found.is_err(), is_stuck);
    }
}

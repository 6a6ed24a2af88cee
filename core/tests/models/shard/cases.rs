//! The configurations that are walked, and the bugs that must be found in them.

use super::{
    Bounds, Bug, Shards,
    rules::{EPOCH, GONE, LOST, OPEN, TABLES, is_all_found},
};
use crate::check::{breaks, can_always_reach, holds, is_large};

const SMALL: Bounds = Bounds {
    shards: 2,
    tasks: 1,
    has_named_lock: false,
    from_nothing: false,
    retries: true,
    claims_late: true,
};
const LOCKED: Bounds = Bounds { has_named_lock: true, ..SMALL };
const FROM_NOTHING: Bounds = Bounds { from_nothing: true, ..SMALL };
const TWO_TASKS: Bounds = Bounds { tasks: 2, retries: false, ..SMALL };

fn model(bounds: Bounds) -> Shards {
    Shards { bounds, bug: None }
}

#[test]
fn ddl_in_transactions() {
    holds("shards, transactions", model(SMALL), 20_000);
}

#[test]
fn ddl_under_a_lock_of_the_server() {
    holds("shards, a lock of the server", model(LOCKED), 50_000);
}

#[test]
fn brokers_make_the_first_shard() {
    holds("shards, from nothing", model(FROM_NOTHING), 29_000);
}

#[test]
fn two_tasks() {
    holds("shards, two tasks", model(TWO_TASKS), 65_000);
}

/// Takes minutes: only by `make test-models`.
#[test]
fn more_of_it_at_once() {
    if !is_large() {
        return;
    }
    holds("shards, three", model(Bounds { shards: 3, ..SMALL }), 1_000_000);
    let both = Bounds { tasks: 2, has_named_lock: true, ..SMALL };
    holds("shards, two tasks under a lock", model(both), 200_000);
}

#[test]
fn every_bug_is_found() {
    for (bug, bounds, broken) in [
        (Bug::NoEpoch, SMALL, EPOCH),
        (Bug::NoEpoch, SMALL, TABLES),
        (Bug::NoRecount, SMALL, LOST),
        (Bug::RecountFirst, SMALL, LOST),
        (Bug::NoNamedLock, LOCKED, TABLES),
        (Bug::CreateUnchecked, FROM_NOTHING, GONE),
        (Bug::OpenedApart, SMALL, OPEN),
    ] {
        breaks(&format!("{bug:?}"), Shards { bounds, bug: Some(bug) }, broken);
    }
}

#[test]
fn every_live_task_can_always_be_found_again() {
    for (bug, bounds, is_lost) in [
        (None, SMALL, false),
        (None, LOCKED, false),
        (Some(Bug::DrainedForGood), SMALL, true),
        (Some(Bug::RetryUnseen), SMALL, true),
        (Some(Bug::DropLeft), SMALL, true),
    ] {
        let model = Shards { bounds: Bounds { claims_late: false, ..bounds }, bug };
        let found = can_always_reach(&model, is_all_found);
        match &found {
            Ok(states) => println!("all tasks can be found from each of {states} states, {bug:?}"),
            Err(lost) => println!("with {bug:?} they cannot be found from {lost:?}"),
        }
        assert_eq!(found.is_err(), is_lost);
    }
}

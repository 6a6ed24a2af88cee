//! Workers, brokers, a governor and a client on a simulated network, in simulated time.
//!
//! ```text
//!            client (SDK) ──┐                       governor: LookBook, BrokerWatch
//!                           ▼                            │ reaps
//!  worker (SDK) ──▶ broker, broker ──▶ database in memory, core::transition
//!     handlers, journal       │ all over turmoil: delay, partitions, crashes
//!        └──────── notes ─────┴──▶ history ──▶ judge
//! ```
//!
//! The SDK's client and its worker runtime are the real ones, and so are the state machine and the
//! two looks; brokers and database are played, by the rules of the real ones. Everything hangs on
//! one number: who takes part, how long it takes, what breaks when, and every random number and
//! clock of the process. So a failure can be had again, line by line:
//!
//! ```text
//! ASYNCFLOW_SIM_SEED=<seed> ASYNCFLOW_SIM_TELL=1 \
//!     cargo test --workspace --test simulation one_seed -- --nocapture
//! ```
//!
//! `ASYNCFLOW_SIM_SEEDS=<count>` plays more than the few of every run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod answer;
mod broker;
mod broker_service;
mod bug;
mod client;
mod database;
mod governor;
mod history;
mod judge;
mod network;
mod plan;
mod play;
mod scene;
mod seeds;
mod shared_dice;
mod shim;
mod status;
mod times;
mod worker;
mod worker_service;

use bug::Bug;
use judge::Counts;
use seeds::{SEED, play_apart, play_many, play_named};

/// Played by every `cargo test`.
const SEEDS_DEFAULT: u64 = 16;
/// How many are played instead.
const SEEDS: &str = "ASYNCFLOW_SIM_SEEDS";
/// A planted bug has to be found within so many, and one that is seldom found within more.
const SEEDS_UNTIL_FOUND: u64 = 40;
const SEEDS_UNTIL_FOUND_RARE: u64 = 600;

/// Plays the seed that the environment names; nothing without one.
#[test]
fn one_seed() {
    let Some(report) = play_named() else {
        return println!("SKIPPED: {SEED} names no seed");
    };
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

#[test]
fn whatever_breaks_no_promise_is_broken() {
    if std::env::var(SEED).is_ok() {
        return;
    }
    let count = std::env::var(SEEDS).ok();
    let count = count.map_or(SEEDS_DEFAULT, |count| count.parse().expect("a count of seeds"));
    let reports = play_many(0..count, None, |_| false);
    let mut failed = 0;
    for report in reports.iter().filter(|report| !report.violations.is_empty()) {
        failed += 1;
        println!("seed {}: {:#?}", report.seed, report.violations);
        println!("again: {SEED}={} cargo test --workspace --test simulation one_seed", report.seed);
    }
    let mut counts = Counts::default();
    reports.iter().for_each(|report| counts.add(&report.counts));
    let faults: usize = reports.iter().map(|report| report.faults).sum();
    let simulated_s = reports.iter().map(|report| report.simulated_ms).sum::<u64>() / 1_000;
    println!("{count} seeds, {faults} faults, {simulated_s} s simulated: {counts:?}");
    assert_eq!(failed, 0, "of {count} seeds");
    // Without these it would not be passed but unknown.
    let enough = count as usize;
    assert!(faults >= 3 * enough && counts.attempts >= 6 * enough, "too little happened");
    assert!(counts.saves >= 6 * enough && counts.succeeded >= 3 * enough, "too little happened");
    assert!(counts.reaps >= enough / 2 && counts.resumed >= enough / 2, "too little happened");
    assert!(counts.creates_repeated >= enough / 4, "too little happened");
}

#[test]
fn a_seed_is_played_the_same_again() {
    if std::env::var(SEED).is_ok() {
        return;
    }
    for seed in [7, 1_000_003] {
        let (first, again) = (play_apart(seed, None), play_apart(seed, None));
        assert_eq!((first.hash, first.simulated_ms), (again.hash, again.simulated_ms), "{seed}");
    }
}

#[test]
fn a_planted_bug_is_found() {
    if std::env::var(SEED).is_ok() {
        return;
    }
    Bug::PLAIN.into_iter().for_each(|bug| find(bug, SEEDS_UNTIL_FOUND));
}

/// With more seeds only: it takes minutes.
#[test]
fn a_planted_bug_that_seldom_shows_is_found() {
    if std::env::var(SEED).is_ok() || std::env::var(SEEDS).is_err() {
        println!("SKIPPED: it takes minutes; set {SEEDS} to play it");
        return;
    }
    Bug::RARE.into_iter().for_each(|bug| find(bug, SEEDS_UNTIL_FOUND_RARE));
}

fn find(bug: Bug, within: u64) {
    let is_found = |report: &play::Report| !report.violations.is_empty();
    let reports = play_many(0..within, Some(bug), is_found);
    let found = reports.iter().find(|report| is_found(report));
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    println!("{bug:?}: after {} plays, {}", reports.len(), found.violations[0]);
}

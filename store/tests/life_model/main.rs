//! The life of a shard against a model: creates, claims, completions, retries, rolls, drains and
//! drops in random order, stopped between their steps, gone on with later or killed, by leaders
//! that come and go and by brokers whose view of the registry is old.
//!
//! What must hold: no acknowledged task is ever unreachable, and no live or retained row is ever
//! dropped. The model is a map from ids to what was acknowledged of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod model;

use asyncflow_store::testing::{SqliteFile, fresh_database, mariadb, postgres};
use model::{Keep, Op, World, ops};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

const CASES: u32 = 40;
const CASES_SERVER: u32 = 6;

#[test]
fn sqlite_loses_nothing() {
    check(CASES, async || (SqliteFile::new(), None)).unwrap();
}

#[test]
fn mariadb_loses_nothing() {
    let url = async || (SqliteFile::new(), Some(fresh_database(mariadb()).await));
    check(CASES_SERVER, url).unwrap();
}

#[test]
fn postgres_loses_nothing() {
    let url = async || (SqliteFile::new(), Some(fresh_database(postgres()).await));
    check(CASES_SERVER, url).unwrap();
}

/// A model that does not see a planted bug proves nothing.
#[test]
fn every_guard_that_is_left_out_is_missed() {
    for (guards, sequence) in planted() {
        let world = |guards_off: &[&str]| {
            let file = SqliteFile::new();
            runtime().block_on(run(&file.url(), &sequence, guards_off))
        };
        assert_eq!(world(&[]), Ok(()), "with {guards:?}");
        let found = world(guards).expect_err(guards[0]);
        println!("without {guards:?}: {found}");
    }
}

/// Guards, and what happens when they are missing.
fn planted() -> [(&'static [&'static str], Vec<Op>); 5] {
    let stopped = |op, at| Op::Stopped(Box::new(op), at);
    let drop_all = |shard| Op::Drop(shard, Keep::Nothing);
    let done = [Op::Create, Op::Claim(1), Op::Complete(0)];
    let with_done = |rest: Vec<Op>| [done.to_vec(), rest].concat();
    let late = || stopped(Op::Create, "insert.placed");
    [
        (&["shards.all_are_looked_at"], vec![Op::Create, Op::Roll, Op::Create]),
        (
            &["drain.looks_again", "insert.reopens"],
            with_done(vec![late(), Op::Roll, Op::Drain, Op::GoOn(0)]),
        ),
        (&["insert.looks_again"], vec![late(), Op::Roll, Op::Drain, drop_all(0), Op::GoOn(0)]),
        (
            &["drop.looks_again"],
            with_done(vec![
                Op::Roll,
                Op::Drain,
                stopped(drop_all(0), "drop.begun"),
                Op::Retry(0),
                Op::GoOn(0),
            ]),
        ),
        (
            &["roll.goes_on"],
            vec![Op::Create, stopped(Op::Roll, "roll.registered"), Op::Kill(0), Op::Roll],
        ),
    ]
}

/// Runs random sequences, each on a database of its own.
fn check(
    cases: u32,
    database: impl AsyncFn() -> (SqliteFile, Option<String>),
) -> Result<(), String> {
    let runtime = runtime();
    let config =
        Config { cases, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let one = |sequence: Vec<Op>| {
        runtime.block_on(async {
            let (file, url) = database().await;
            let url = url.unwrap_or_else(|| file.url());
            run(&url, &sequence, &[]).await.map_err(TestCaseError::fail)
        })
    };
    TestRunner::new(config).run(&ops(), one).map_err(|error| error.to_string())
}

async fn run(url: &str, sequence: &[Op], guards_off: &[&str]) -> Result<(), String> {
    let mut world = World::open(url, guards_off).await;
    let outcome = world.run(sequence).await;
    world.close().await;
    outcome
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

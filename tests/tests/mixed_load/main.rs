//! Mixed load under random faults: nothing is lost or done twice, and the checker that says so
//! finds planted bugs. `ASYNCFLOW_TEST_SEED`, which a failed run prints, plays the same faults
//! again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![recursion_limit = "256"]

mod planted;

use std::time::Duration;

use asyncflow_tests::{
    Backend,
    checker::Verdict,
    mixed_load::{self, Play},
    seed,
};

async fn play(backend: Backend, seed: u64, off: &[&str]) -> Verdict {
    let spares_the_first = false;
    let play = Play { backend, seed, off, at_least: Duration::ZERO, spares_the_first };
    mixed_load::play(play).await.0
}

async fn nothing_is_lost_or_done_twice(backend: Backend) {
    let seed = seed();
    let again = format!(
        "ASYNCFLOW_TEST_SEED={seed} cargo test --workspace --test mixed_load -- \
         nothing_is_lost_or_done_twice"
    );
    match play(backend, seed, &[]).await {
        Verdict::Passed(counts) => println!("{backend:?}, seed {seed}: {counts}"),
        Verdict::Violated(violations) => {
            panic!("{backend:?}, {} violations; {again}", violations.len());
        }
        Verdict::Unknown { why, counts } => panic!("{backend:?}: {why} ({counts}); {again}"),
    }
}
asyncflow_tests::on_each_database!(nothing_is_lost_or_done_twice);

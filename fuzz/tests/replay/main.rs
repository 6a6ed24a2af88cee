//! Every property of `fuzz/src`, on stable and in a moment: all of `corpus/`, then some hundred
//! random inputs and mutations of it. A failure prints the seed and the smallest input that was
//! found; with `ASYNCFLOW_FUZZ_SEED` the same cases come again, and `ASYNCFLOW_FUZZ_CASES` says how
//! many.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod mutation;

use std::env;

use asyncflow_fuzz as fuzz;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const CASES: u32 = 300;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// All of it for one target, whose folder in `corpus/` has this name.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let entries = corpus::entries(target);
    for (name, data) in &entries {
        eprintln!("corpus/{target}/{name}");
        check(data);
    }
    let seed = variable("ASYNCFLOW_FUZZ_SEED").unwrap_or_else(rand::random::<u64>);
    eprintln!("ASYNCFLOW_FUZZ_SEED={seed}");
    let cases = variable("ASYNCFLOW_FUZZ_CASES").unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let bytes: [u8; 32] = std::array::from_fn(|at| seed.to_be_bytes()[at % 8]);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let inputs = mutation::inputs(entries.into_iter().map(|(_, data)| data).collect());
    let ran = TestRunner::new_with_rng(config, rng).run(&inputs, |data| {
        check(&data);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{target}, ASYNCFLOW_FUZZ_SEED={seed}: {error}");
    }
}

#[test]
fn ids() {
    replay("id", fuzz::id::check);
}

#[test]
fn page_tokens() {
    replay("page_token", fuzz::page_token::check);
}

#[test]
fn resume_tokens() {
    replay("resume_token", fuzz::resume_token::check);
}

#[test]
fn filters() {
    replay("filter", fuzz::filter::check);
}

#[test]
fn cron_expressions() {
    replay("cron", fuzz::cron::check);
}

#[test]
fn expressions() {
    replay("expression", fuzz::expression::check);
}

#[test]
fn creates() {
    replay("create_task", fuzz::create_task::check);
}

#[test]
fn creates_as_json() {
    replay("create_task_json", fuzz::create_task_json::check);
}

#[test]
fn events() {
    replay("event", fuzz::event::check);
}

#[test]
fn journal_entries() {
    replay("journal", fuzz::journal::check);
}

#[test]
fn records_of_shims() {
    replay("shim_record", fuzz::shim_record::check);
}

#[test]
fn settings_of_workers() {
    replay("config", fuzz::config::check);
}

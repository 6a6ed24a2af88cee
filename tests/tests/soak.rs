//! `make soak`: mixed load under random faults for an hour, judged by the checker; broker, governor
//! and worker that are never killed must not grow.
//!
//! `--minutes N` (60), `--database sqlite|mariadb|postgres` (sqlite), `ASYNCFLOW_TEST_SEED`.

use std::{process::ExitCode, time::Duration};

use asyncflow_tests::{
    Backend,
    checker::Verdict,
    mixed_load::{self, Play, grown},
    seed,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some((backend, at_least)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: soak [--minutes N] [--database sqlite|mariadb|postgres]");
        return ExitCode::from(2);
    };
    let seed = seed();
    let play = Play { backend, seed, off: &[], at_least, spares_the_first: true };
    let (verdict, spent) = Box::pin(mixed_load::play(play)).await;
    let leaks = grown(&spent);
    leaks.iter().for_each(|leak| eprintln!("it has grown: {leak}"));
    let passed = match verdict {
        Verdict::Passed(counts) => {
            println!("passed: {backend:?}, seed {seed}, {} rounds: {counts}", spent.len());
            true
        }
        Verdict::Violated(violations) => {
            eprintln!("violated: seed {seed}, {} violations", violations.len());
            false
        }
        Verdict::Unknown { why, counts } => {
            eprintln!("unknown: {why} ({counts})");
            false
        }
    };
    if passed && leaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<(Backend, Duration)> {
    let (mut backend, mut minutes) = (Backend::Sqlite, 60.0);
    while let Some(name) = given.next() {
        match (name.as_str(), given.next()?.as_str()) {
            ("--minutes", value) => minutes = value.parse().ok()?,
            ("--database", "sqlite") => backend = Backend::Sqlite,
            ("--database", "mariadb") => backend = Backend::MariaDb,
            ("--database", "postgres") => backend = Backend::Postgres,
            _ => return None,
        }
    }
    Some((backend, Duration::try_from_secs_f64(60.0 * minutes).ok()?))
}

//! Many seeds, each in a process of its own: nothing of one play can influence another.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    bug::Bug,
    play::{Report, play},
};

pub const SEED: &str = "ASYNCFLOW_SIM_SEED";
const BUG: &str = "ASYNCFLOW_SIM_BUG";
/// Set by a person who wants to read all that happened.
const TELL: &str = "ASYNCFLOW_SIM_TELL";
const REPORT: &str = "report ";

/// Plays the seed that the environment names, if it does.
pub fn play_named() -> Option<Report> {
    let seed = std::env::var(SEED).ok()?.parse().expect("a seed is a number");
    let bug = std::env::var(BUG).ok().and_then(|name| Bug::named(&name));
    let report = play(seed, bug, std::env::var(TELL).is_ok());
    println!("\n{REPORT}{}", serde_json::to_string(&report).unwrap());
    Some(report)
}

/// Plays a seed in a new process.
pub fn play_apart(seed: u64, bug: Option<Bug>) -> Report {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_seed", "--nocapture"]).env(SEED, seed.to_string());
    if let Some(bug) = bug {
        command.env(BUG, bug.name());
    }
    // A panic that is caught, as those of handlers, is told on stderr.
    command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let report =
        lines.fold(None, |found, line| line.strip_prefix(REPORT).map(str::to_owned).or(found));
    let _ = child.wait();
    let report = report.and_then(|report| serde_json::from_str(&report).ok());
    report.unwrap_or_else(|| Report {
        seed,
        violations: vec!["its process told nothing".to_owned()],
        ..Report::default()
    })
}

/// Plays seeds until `enough` says so, on as many cores as there are.
pub fn play_many(
    seeds: std::ops::Range<u64>,
    bug: Option<Bug>,
    enough: impl Fn(&Report) -> bool + Sync,
) -> Vec<Report> {
    let (next, reports) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = play_apart(seed, bug);
                    if enough(&report) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap_or_else(PoisonError::into_inner)
}

//! Attempts: numbered without gaps, each issued once, and taken back from the dead only.

use std::collections::BTreeMap;

use asyncflow_core::task::AttemptOutcome;

use super::{Report, life::Life};

/// I4: attempts are numbered 1, 2, 3 …, and each was claimed after the one before had ended, by the
/// database's clock.
pub(super) fn numbers_are_strictly_increasing(life: &Life<'_>, report: &mut Report) {
    for (number, attempt) in (1..).zip(&life.attempts) {
        if attempt.attempt != number {
            let what = format!("attempt {} stands where {number} should", attempt.attempt);
            return report.add(life.id, what);
        }
    }
    for pair in life.attempts.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        if next.claim_ms < one.end_ms {
            let early_ms = one.end_ms - next.claim_ms;
            let what = format!("attempt {} was claimed {early_ms} ms before", next.attempt);
            report.add(life.id, format!("{what} attempt {} had ended", one.attempt));
        }
    }
}

/// I4: an attempt belongs to one worker, and its program is started once.
pub(super) fn each_is_issued_once(life: &Life<'_>, report: &mut Report) {
    let mut holders: BTreeMap<i32, (&str, String)> = BTreeMap::new();
    let of_sights = life
        .sights
        .iter()
        .filter(|sight| sight.row.attempt > 0)
        .map(|sight| (sight.row.attempt, sight.row.worker.as_str(), sight.place()));
    let of_history = life
        .attempts
        .iter()
        .map(|attempt| (attempt.attempt, attempt.worker.as_str(), "its history".to_owned()));
    for (attempt, worker, place) in of_sights.chain(of_history) {
        let (first, at) = holders.entry(attempt).or_insert_with(|| (worker, place.clone()));
        if *first != worker {
            let what = format!("attempt {attempt} belongs to {first} ({at}) and to {worker}");
            return report.add(life.id, format!("{what} ({place})"));
        }
    }
    let mut started: BTreeMap<i32, (usize, u32)> = BTreeMap::new();
    for (record, _) in life.starts() {
        let (line, pid) = (record.line, record.pid);
        if let Some((first, before)) = started.insert(record.attempt, (line, pid)) {
            let what = format!("attempt {} is started twice", record.attempt);
            let lines = format!("lines {first} and {line}");
            report.add(life.id, format!("{what}, by processes {before} and {pid} ({lines})"));
        }
    }
}

/// I4: a task is taken back only from a worker that a fault has kept from saying that it lives.
pub(super) fn only_the_worker_of_a_fault_loses_a_task(life: &Life<'_>, report: &mut Report) {
    for attempt in life.attempts.iter().filter(|one| one.outcome == AttemptOutcome::Lost) {
        if !life.faults.iter().any(|fault| fault.may_cost(attempt)) {
            let (number, worker) = (attempt.attempt, &attempt.worker);
            let what = format!("attempt {number} was taken back from {worker}");
            report.add(life.id, format!("{what}, to which nothing was done meanwhile"));
        }
    }
}

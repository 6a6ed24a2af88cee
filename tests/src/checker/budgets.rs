//! Budgets: how often a task may fail or lose its worker, and how long it waits in between.

use std::collections::BTreeMap;

use asyncflow_core::task::AttemptOutcome;

use super::{Report, life::Life};

/// I11: no run has more failures and lost workers than it may have, the row has counted them, and
/// every failure is followed by its back-off, by the database's clock.
pub(super) fn budgets_and_back_off_are_kept(life: &Life<'_>, report: &mut Report) {
    let Some(row) = life.row else { return };
    let mut counts: BTreeMap<i32, [i32; 2]> = BTreeMap::from([(row.run, [0, 0])]);
    for (at, attempt) in life.attempts.iter().enumerate() {
        let [failures, crashes] = counts.entry(attempt.run).or_default();
        *failures += i32::from(attempt.outcome == AttemptOutcome::Failed);
        *crashes += i32::from(attempt.outcome == AttemptOutcome::Lost);
        let next = life.attempts.get(at + 1).filter(|next| next.run == attempt.run);
        let Some(next) = next.filter(|_| attempt.outcome == AttemptOutcome::Failed) else {
            continue;
        };
        let (waited_ms, least_ms) =
            (next.claim_ms - attempt.end_ms, row.retry.back_off_ms(*failures));
        if waited_ms < least_ms {
            let what = format!("attempt {} was claimed {waited_ms} ms", next.attempt);
            report.add(life.id, format!("{what} after failure {failures}, not {least_ms}"));
        }
    }
    let crashes_max = row.max_crashes.unwrap_or(i32::MAX);
    for (run, [failures, crashes]) in &counts {
        if *failures > row.retry.max_retries.saturating_add(1) {
            let most = row.retry.max_retries;
            report.add(life.id, format!("run {run} failed {failures} times with {most} retries"));
        }
        if *crashes > crashes_max.saturating_add(1) {
            let what = format!("run {run} lost {crashes} workers");
            report.add(life.id, format!("{what}, and may lose {crashes_max}"));
        }
    }
    let [failures, crashes] = counts.get(&row.run).copied().unwrap_or_default();
    if [row.failures, row.crashes] != [failures, crashes] {
        let what = format!("its row counts {} failures and {}", row.failures, row.crashes);
        report.add(life.id, format!("{what} lost workers, its history {failures} and {crashes}"));
    }
}

//! Ends: one a run, for good, and what the worker said.

use std::collections::BTreeMap;

use asyncflow_core::task::AttemptOutcome;

use super::{Report, life::Life, life::Sight, record::What};

/// Whether two ends of one run are the same, as far as both tell.
fn is_same_end(one: &Sight<'_>, other: &Sight<'_>) -> bool {
    let results = [one.row.result, other.row.result];
    let is_same_result = results.contains(&None) || results[0] == results[1];
    one.row.state == other.row.state && is_same_result
}

fn said(sight: &Sight<'_>) -> String {
    let result = sight.row.result.map_or(String::new(), |result| format!(" with {result}"));
    format!("{}{result} ({})", sight.row.state, sight.place())
}

/// I2: whoever sees the end of a run sees the same end, and at most one attempt of it is the last.
pub(super) fn a_run_ends_once(life: &Life<'_>, report: &mut Report) {
    let mut ends: BTreeMap<i32, Sight<'_>> = BTreeMap::new();
    let is_end = |sight: &&Sight<'_>| sight.call.is_some() && sight.row.state.is_terminal();
    for sight in life.sights.iter().filter(is_end) {
        let run = sight.row.run;
        let first = *ends.entry(run).or_insert(*sight);
        if !is_same_end(&first, sight) {
            let what = format!("run {run} ends as {} and as {}", said(&first), said(sight));
            return report.add(life.id, what);
        }
    }
    let is_last =
        |outcome| matches!(outcome, AttemptOutcome::Succeeded | AttemptOutcome::Cancelled);
    for attempt in life.attempts.iter().filter(|attempt| is_last(attempt.outcome)) {
        let follows = life
            .attempts
            .iter()
            .find(|other| other.run == attempt.run && other.attempt > attempt.attempt);
        if let Some(other) = follows {
            let (last, next) = (attempt.attempt, other.attempt);
            let what = format!("run {} ends with attempt {last}", attempt.run);
            report.add(life.id, format!("{what}, and attempt {next} is of that run, too"));
        }
    }
}

/// I2: a run whose end was seen is not seen going on.
pub(super) fn nothing_follows_the_end(life: &Life<'_>, report: &mut Report) {
    let ended = life.sights.iter().filter(|sight| sight.row.state.is_terminal());
    for end in ended {
        let goes_on = life.sights.iter().find(|later| {
            let is_same_run = later.row.run == end.row.run;
            end.is_before(later) && is_same_run && !later.row.state.is_terminal()
        });
        if let Some(later) = goes_on {
            let what = format!("run {} ended as {}", end.row.run, said(end));
            return report.add(life.id, format!("{what}, and then is {}", said(later)));
        }
    }
}

/// I9: the result is what the program of the attempt that succeeded wrote down as its result.
pub(super) fn results_are_what_workers_wrote_down(life: &Life<'_>, report: &mut Report) {
    let is_success = |outcome| outcome == AttemptOutcome::Succeeded;
    for attempt in life.attempts.iter().filter(|attempt| is_success(attempt.outcome)) {
        let number = attempt.attempt;
        let ends = life.records.iter().filter(|record| record.attempt == number);
        let mut end = ends.filter_map(|record| match record.what {
            What::End(mark) => Some((record.line, mark)),
            What::Start(_) | What::Save(_) => None,
        });
        let Some((line, mark)) = end.next_back() else {
            report.add(life.id, format!("attempt {number} succeeded and never came to its end"));
            continue;
        };
        let kept = life.row.filter(|row| row.attempt == number).and_then(|row| row.result);
        if let Some(kept) = kept.filter(|kept| *kept != mark) {
            let what = format!("attempt {number} returned {mark} (line {line})");
            report.add(life.id, format!("{what}, and its result is {kept}"));
        }
    }
}

/// I10: an end that anybody was told of is there in the end, unless the task was run again.
pub(super) fn acknowledged_ends_are_durable(life: &Life<'_>, report: &mut Report) {
    let Some(now) = life.sights.iter().find(|sight| sight.call.is_none()) else { return };
    let told = life.sights.iter().filter(|sight| sight.call.is_some());
    let is_lost = |end: &&Sight<'_>| {
        let is_end = end.row.state.is_terminal() && end.row.run >= now.row.run;
        is_end && (end.row.run > now.row.run || !is_same_end(end, now))
    };
    if let Some(end) = told.into_iter().find(is_lost) {
        report.add(life.id, format!("it was told to be {}, and is {}", said(end), said(now)));
    }
}

/// I12: once every fault is over, every task comes to an end.
pub(super) fn all_have_ended(life: &Life<'_>, report: &mut Report) {
    if let Some(row) = life.row.filter(|row| !row.state.is_terminal()) {
        let what = format!("it is still {} in attempt {}", row.state, row.attempt);
        report.add(life.id, format!("{what}, long after the last fault"));
    }
}

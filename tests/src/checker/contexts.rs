//! Contexts: every save counts, in its order, and whoever comes next goes on from the last.
//!
//! Programs of a checked run save how many saves went before (see [`super::Mark`]). A worker that
//! was killed while it saved may, when it comes back, save the same again, which is another
//! version, so that a version may be more than its step, and never less. A run from the start again
//! (RetryTask with `from_start`) is not what this checks.

use super::{
    Report,
    life::{Life, Sight},
    record::{Mark, What},
};

const NOTHING: Mark = Mark { step: 0, attempt: 0 };

/// What was saved, where that was told.
fn saved(sight: &Sight<'_>) -> Option<Mark> {
    sight.row.is_full.then(|| sight.row.context.unwrap_or(NOTHING))
}

/// What was told of contexts, by version: version, context and the sight.
fn told<'a>(life: &'a Life<'_>) -> Vec<(i64, Mark, &'a Sight<'a>)> {
    let full = life.sights.iter();
    let full = full.filter_map(|sight| Some((sight.row.context_version, saved(sight)?, sight)));
    let mut told: Vec<_> = full.collect();
    told.sort_by_key(|(version, ..)| *version);
    told
}

/// I8: each version is one context, steps go up with the versions and none is left out.
pub(super) fn versions_are_gapless(life: &Life<'_>, report: &mut Report) {
    let told = told(life);
    let mut last = (0, NOTHING);
    for (version, context, sight) in told {
        let is_same = last.0 == version;
        let (versions, steps) = (version - last.0, context.step - last.1.step);
        if is_same && context != last.1 || steps < 0 || steps > versions {
            let what = format!("version {} of its context is {}", last.0, last.1);
            let place = sight.place();
            return report.add(life.id, format!("{what}, and {version} is {context} ({place})"));
        }
        last = (version, context);
    }
    for (one, next) in life.steps() {
        let [before, after] = [one, next].map(|sight| sight.row.context_version);
        if after < before {
            let what = format!("its context goes from version {before} ({})", one.place());
            return report.add(life.id, format!("{what} back to {after} ({})", next.place()));
        }
    }
}

/// I8: an attempt starts from what was saved last before it, and saves one step after the other.
pub(super) fn the_next_attempt_goes_on_from_the_last_save(life: &Life<'_>, report: &mut Report) {
    for (record, from) in life.starts() {
        let (number, line) = (record.attempt, record.line);
        let was_saved = from == NOTHING
            || life.records.iter().any(|other| other.what == What::Save(from))
                && from.attempt < number;
        if !was_saved {
            let what = format!("attempt {number} starts from {from} (line {line})");
            report.add(life.id, format!("{what}, which nobody had saved before"));
        }
        // What an attempt before it has saved was there when this one was claimed.
        let before = told(life).into_iter().filter(|(_, context, _)| context.attempt < number);
        if let Some((_, context, sight)) = before.max_by_key(|(_, context, _)| context.step)
            && context.step > from.step
        {
            let what = format!("attempt {number} starts from {from} (line {line})");
            let place = sight.place();
            report.add(life.id, format!("{what}, and {context} was saved before ({place})"));
        }
        steps_follow(life, number, from, report);
    }
}

fn steps_follow(life: &Life<'_>, number: i32, from: Mark, report: &mut Report) {
    let mut last = from.step;
    for record in life.records.iter().filter(|record| record.attempt == number) {
        if let What::Save(mark) = record.what {
            if mark.step != last + 1 || mark.attempt != number {
                let what = format!("attempt {number} saves {mark} (line {})", record.line);
                return report.add(life.id, format!("{what} after step {last}"));
            }
            last = mark.step;
        }
    }
}

/// I6: nothing that an attempt does is kept once the next one was claimed: neither its context nor
/// its result.
pub(super) fn nothing_is_kept_of_an_attempt_that_was_replaced(
    life: &Life<'_>,
    report: &mut Report,
) {
    let mut last: Option<&Sight<'_>> = None;
    for (version, context, sight) in told(life) {
        let of_later = last.filter(|last| {
            version > last.row.context_version && context.attempt < last.row.attempt
        });
        if let Some(last) = of_later {
            let what = format!("{context} was saved ({}) after attempt", sight.place());
            let at = last.place();
            return report.add(life.id, format!("{what} {} was claimed ({at})", last.row.attempt));
        }
        if last.is_none_or(|last| last.row.attempt < sight.row.attempt) {
            last = Some(sight);
        }
    }
    for sight in &life.sights {
        let attempt = sight.row.attempt;
        if let Some(result) = sight.row.result.filter(|result| result.attempt != attempt) {
            let what = format!("attempt {attempt} is the last, and the result {result}");
            return report.add(life.id, format!("{what} is of another ({})", sight.place()));
        }
    }
}

//! Edges: a task goes from state to state as the state machine allows, and its row and its history
//! tell the same.

use std::collections::BTreeSet;

use asyncflow_core::{edge::EDGES, state::TaskState, task::AttemptOutcome};

use super::{
    Report,
    history::{Attempt, Row},
    life::{Life, Sight},
};

/// Whether edges lead from one state to the other, by events that leave attempt and run as they
/// are, but for those that may have come in between.
fn is_reachable(from: &Row, to: &Row) -> bool {
    let may_be = |event: &str| match event {
        "Claim" => to.attempt > from.attempt,
        "Retry" => to.run > from.run,
        _ => true,
    };
    let mut reached = BTreeSet::from([from.state]);
    loop {
        let known = reached.len();
        for edge in EDGES.iter().filter(|edge| may_be(edge.event)) {
            if edge.from.iter().any(|state| reached.contains(state)) {
                reached.extend(edge.to);
            }
        }
        if reached.len() == known {
            return reached.contains(&to.state);
        }
    }
}

fn seen(sight: &Sight<'_>) -> String {
    let Row { state, attempt, run, .. } = sight.row;
    format!("{state} in attempt {attempt} of run {run} ({})", sight.place())
}

/// I3: between two sights of a task lie edges of the state machine, and neither attempt nor run
/// goes back.
pub(super) fn edges_are_legal(life: &Life<'_>, report: &mut Report) {
    for (one, next) in life.steps() {
        let goes_back = next.row.attempt < one.row.attempt || next.row.run < one.row.run;
        if goes_back || !is_reachable(one.row, next.row) {
            return report.add(life.id, format!("it was {}, then {}", seen(&one), seen(&next)));
        }
    }
}

/// I3: the last attempt of the history has led to the state of the row.
pub(super) fn the_row_equals_its_last_attempt(life: &Life<'_>, report: &mut Report) {
    let Some(row) = life.row else { return };
    let last = life.attempts.last().copied();
    let ended = last.map_or(0, |last| last.attempt);
    let in_force = ended + i32::from(row.state.is_leased());
    if row.attempt != in_force {
        let what = format!("it is {} in attempt {}", row.state, row.attempt);
        return report.add(life.id, format!("{what}, and the last that ended is {ended}"));
    }
    if let Some(last) = last.filter(|last| last.run == row.run && !row.state.is_leased())
        && !leads_to(last, row.state)
    {
        let what = format!("attempt {} has ended as {:?}", last.attempt, last.outcome);
        report.add(life.id, format!("{what}, and it is {}", row.state));
    }
}

/// A task that does not run may have been cancelled or overtaken by its twin since.
fn leads_to(last: &Attempt, state: TaskState) -> bool {
    match last.outcome {
        AttemptOutcome::Succeeded => state == TaskState::Succeeded,
        AttemptOutcome::Cancelled => state == TaskState::Cancelled,
        AttemptOutcome::Failed | AttemptOutcome::Lost => state != TaskState::Succeeded,
        AttemptOutcome::Released => true,
    }
}

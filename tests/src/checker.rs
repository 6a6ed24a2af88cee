//! Judges a run after the fact, in the style of Jepsen and Elle: from what clients were told, what
//! workers wrote down themselves, what the tables hold in the end and what processes logged.
//!
//! ```text
//!   clients ──▶ Call: invoked, returned, told ──┐
//!   programs ─▶ Record: start, save, end ───────┤              ┌ Passed: counts
//!   tables ───▶ Row, Attempt ───────────────────┼─▶ verdict ──▶┼ Violated: every violation
//!   processes ▶ Log, what is left over ─────────┤              └ Unknown: too little happened
//!   the test ─▶ Fault ──────────────────────────┘
//! ```
//!
//! It is pure: a [`History`] goes in and a [`Verdict`] comes out. A call whose answer was lost is
//! *unknown*, never *failed*: what it asked for may be there, or come later. Each check is one
//! function, which stands below beside the invariant that it holds the run to; `docs/GUARANTEES.md`
//! lists them.

mod attempts;
mod budgets;
mod contexts;
mod creates;
mod edges;
mod ends;
mod history;
mod life;
mod processes;
mod record;

pub use history::{Attempt, Call, Fault, History, Kind, Log, Process, Row, Told};
pub use record::{Mark, Record, What, read_records};

use std::fmt;

use life::Life;

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I19`.
    pub invariant: &'static str,
    /// Whose; empty when it is no task's.
    pub task: String,
    /// What is wrong, with the lines at fault.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.invariant, self.task, self.what)
    }
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of clients.
    pub operations: usize,
    /// Of those, answered well.
    pub acknowledged: usize,
    /// Of those, refused for certain.
    pub refused: usize,
    /// Of those, without an answer.
    pub unknown: usize,
    pub tasks: usize,
    pub attempts: usize,
    /// Attempts that were lost or given back.
    pub interrupted: usize,
    /// Lines that workers wrote down.
    pub records: usize,
    pub faults: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, acknowledged, refused, unknown, .. } = self;
        write!(out, "{operations} operations ({acknowledged} acknowledged, {refused} refused, ")?;
        write!(out, "{unknown} unknown), {} tasks, {} attempts ", self.tasks, self.attempts)?;
        write!(out, "({} interrupted), {} records, ", self.interrupted, self.records)?;
        write!(out, "{} faults", self.faults)
    }
}

/// How much has to happen for a run to say anything.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    pub operations: usize,
    pub faults: usize,
}

/// What is to be thought of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed(Counts),
    Violated(Vec<Violation>),
    /// Nothing is wrong, and too little happened for that to mean anything.
    Unknown {
        why: String,
        counts: Counts,
    },
}

type Check = fn(&History, &mut Report);
type CheckOfATask = fn(&Life<'_>, &mut Report);

/// What holds of the run as a whole.
const CHECKS: [(&str, Check); 7] = [
    ("I1", creates::acknowledged_creates_are_there_once),
    ("I1", creates::nothing_is_there_that_nobody_created),
    ("I7", creates::request_ids_are_unique),
    ("I18", processes::no_process_is_left),
    ("I18", processes::no_transaction_is_left),
    ("I19", processes::no_call_fails_inside),
    ("I19", processes::logs_are_clean),
];

/// What holds of each task.
const CHECKS_OF_A_TASK: [(&str, CheckOfATask); 13] = [
    ("I2", ends::a_run_ends_once),
    ("I2", ends::nothing_follows_the_end),
    ("I3", edges::edges_are_legal),
    ("I3", edges::the_row_equals_its_last_attempt),
    ("I4", attempts::numbers_are_strictly_increasing),
    ("I4", attempts::each_is_issued_once),
    ("I4", attempts::only_the_worker_of_a_fault_loses_a_task),
    ("I6", contexts::nothing_is_kept_of_an_attempt_that_was_replaced),
    ("I8", contexts::versions_are_gapless),
    ("I8", contexts::the_next_attempt_goes_on_from_the_last_save),
    ("I9", ends::results_are_what_workers_wrote_down),
    ("I10", ends::acknowledged_ends_are_durable),
    ("I11", budgets::budgets_and_back_off_are_kept),
];

/// What the checks have found so far.
#[derive(Debug, Default)]
struct Report {
    invariant: &'static str,
    violations: Vec<Violation>,
}

impl Report {
    fn add(&mut self, task: &str, what: String) {
        let (invariant, task) = (self.invariant, task.to_owned());
        self.violations.push(Violation { invariant, task, what });
    }
}

/// Holds a run to every invariant. Violations come in the order of the invariants' checks.
pub fn verdict(history: &History, least: Least) -> Verdict {
    let mut report = Report::default();
    for (invariant, check) in CHECKS {
        report.invariant = invariant;
        check(history, &mut report);
    }
    let lives = life::all(history);
    for (invariant, check) in CHECKS_OF_A_TASK {
        report.invariant = invariant;
        lives.iter().for_each(|life| check(life, &mut report));
    }
    report.invariant = "I12";
    lives.iter().for_each(|life| ends::all_have_ended(life, &mut report));
    if !report.violations.is_empty() {
        return Verdict::Violated(report.violations);
    }
    let counts = count(history);
    let too_few = |what: &str, there: usize, least: usize| {
        (there < least).then(|| format!("{there} {what}, and it takes {least}"))
    };
    let why = too_few("operations", counts.operations, least.operations)
        .or_else(|| too_few("faults", counts.faults, least.faults));
    match why {
        None => Verdict::Passed(counts),
        Some(why) => Verdict::Unknown { why, counts },
    }
}

fn count(history: &History) -> Counts {
    let calls = |is: fn(&Told) -> bool| history.calls.iter().filter(|call| is(&call.told)).count();
    Counts {
        operations: history.calls.len(),
        acknowledged: calls(|told| matches!(told, Told::Ok(_))),
        refused: calls(|told| matches!(told, Told::Refused { .. })),
        unknown: calls(|told| matches!(told, Told::Unknown { .. })),
        tasks: history.rows.len(),
        attempts: history.attempts.len(),
        interrupted: history.attempts.iter().filter(|one| one.is_interrupted()).count(),
        records: history.records.len(),
        faults: history.faults.len(),
    }
}

//! What workers send.

use std::collections::BTreeMap;

use super::{at::At, content, label, number, text, time};
use crate::{
    id::TypeName,
    limits::{
        ACQUIRE_ID_BYTES_MAX, ACQUIRE_TASKS_MAX, HOST_BYTES_MAX, INCARNATION_BYTES_MAX,
        MESSAGE_BYTES_MAX, METRIC_NAME_BYTES_MAX, METRICS_MAX, SLOTS_MAX, STAGE_BYTES_MAX,
        VERSION_BYTES_MAX, WORKER_ID_BYTES_MAX, WORKER_TYPES_MAX,
    },
    reason::FailureReason,
    task::{Content, Progress},
    violation::Violations,
};

/// A RegisterWorkerRequest as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegistrationInput {
    pub worker_id: String,
    pub incarnation: String,
    pub host: String,
    pub labels: BTreeMap<String, String>,
    pub task_types: Vec<String>,
    pub takes_commands: bool,
    pub slots: i32,
    pub version: String,
}

/// Which tasks a worker takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerTypes {
    /// `*`: every type, also those which are created later.
    All,
    /// None of them when it takes commands only.
    Named(Vec<TypeName>),
}

/// Checks a registration; the task types come back checked.
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn registration(input: &RegistrationInput) -> Result<WorkerTypes, Violations> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let worker_id = at.field("worker_id");
    text::token(&input.worker_id, WORKER_ID_BYTES_MAX, worker_id, &mut violations);
    let incarnation = at.field("incarnation");
    text::required_line(&input.incarnation, INCARNATION_BYTES_MAX, incarnation, &mut violations);
    text::line(&input.host, HOST_BYTES_MAX, at.field("host"), &mut violations);
    label::labels(&input.labels, at.field("labels"), &mut violations);
    let types = match input.task_types.as_slice() {
        [all] if all == "*" => WorkerTypes::All,
        types => {
            let least = usize::from(!input.takes_commands);
            WorkerTypes::Named(task_types(types, least, &mut violations))
        }
    };
    number::in_range(input.slots, 1..=SLOTS_MAX.into(), at.field("slots"), &mut violations);
    text::line(&input.version, VERSION_BYTES_MAX, at.field("version"), &mut violations);
    violations.ok_or(Some(types))
}

/// Checks an AcquireTasks; the task types come back checked (none = all that it registered).
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn acquire(
    acquire_id: &str,
    max_tasks: i32,
    types: &[String],
) -> Result<Vec<TypeName>, Violations> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    text::required_line(acquire_id, ACQUIRE_ID_BYTES_MAX, at.field("acquire_id"), &mut violations);
    let allowed = 1..=i64::from(ACQUIRE_TASKS_MAX);
    number::in_range(max_tasks, allowed, at.field("max_tasks"), &mut violations);
    let types = task_types(types, 0, &mut violations);
    violations.ok_or(Some(types))
}

fn task_types(types: &[String], least: usize, violations: &mut Violations) -> Vec<TypeName> {
    let at = At::REQUEST.field("task_types");
    number::item_count(types.len(), least..=WORKER_TYPES_MAX, at, violations);
    let each = types.iter().enumerate().take(WORKER_TYPES_MAX);
    each.filter_map(|(index, name)| text::type_name(name, at.item(index), violations)).collect()
}

/// Checks progress: a percentage of 0 to 100, numbers that are numbers.
pub fn progress(progress: &Progress, at: At<'_>, violations: &mut Violations) {
    if let Some(percent) = progress.percent
        && !(0.0..=100.0).contains(&percent)
    {
        violations.add(at.field("percent"), format!("{percent} is out of range; 0 to 100"));
    }
    text::prose(&progress.message, MESSAGE_BYTES_MAX, at.field("message"), violations);
    let metrics = at.field("metrics");
    number::item_count(progress.metrics.len(), 0..=METRICS_MAX, metrics, violations);
    for (index, (name, value)) in progress.metrics.iter().enumerate().take(METRICS_MAX) {
        let item = metrics.item(index);
        text::required_line(name, METRIC_NAME_BYTES_MAX, item.field("key"), violations);
        if !value.is_finite() {
            let what = format!("{value} is not a finite number; leave the metric out");
            violations.add(item.field("value"), what);
        }
    }
}

/// Checks what a SaveContext writes; `context_bytes_max` is the task type's.
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn saved_context(
    stage: Option<&str>,
    context: Option<&Content>,
    context_bytes_max: i32,
) -> Result<(), Violations> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    if let Some(stage) = stage {
        text::line(stage, STAGE_BYTES_MAX, at.field("stage"), &mut violations);
    }
    if let Some(context) = context {
        let bytes_max = usize::try_from(context_bytes_max).unwrap_or(0);
        content::content(context, bytes_max, at.field("context"), &mut violations);
    }
    violations.none()
}

/// Checks the reason that a FailTask or ReleaseTask gives; 0, which is "not given", stands for
/// `unspecified`.
pub fn reason(
    number: i32,
    unspecified: FailureReason,
    at: At<'_>,
    violations: &mut Violations,
) -> FailureReason {
    if number == 0 {
        return unspecified;
    }
    let known = i16::try_from(number).ok().and_then(FailureReason::from_code);
    match known {
        Some(reason) if reason.is_for_workers() => return reason,
        Some(reason) => violations.add(at, format!("{reason:?} is not for workers to say")),
        None => violations.add(at, format!("{number} is not a known reason")),
    }
    unspecified
}

/// Checks the wait that a FailTask or ReleaseTask asks for: 0 to 365 days.
pub fn delay(value_ms: Option<i64>, at: At<'_>, violations: &mut Violations) {
    if let Some(value_ms) = value_ms {
        time::duration_or_zero(value_ms, at, violations);
    }
}

//! What is true of every task and of every step, whatever happens. Tests check it along random
//! walks; the store may `debug_assert!` it on what it reads and writes.

use crate::{
    edge, event::Event, limits::METRICS_MAX, reason::FailureReason, state::TaskState, task::Task,
    transition::Transition,
};

/// Whether a row makes sense by itself.
///
/// # Errors
/// The rule that it breaks.
pub fn check_task(task: &Task) -> Result<(), &'static str> {
    let reason = task.failure.as_ref().map(|failure| failure.reason);
    let stops = matches!(task.state, TaskState::Cancelling | TaskState::Cancelled);
    rules(&[
        (
            task.state.is_terminal() == task.finish_time_ms.is_some(),
            "a task has a finish time exactly when it is terminal",
        ),
        (
            !task.state.is_terminal() || task.finish_time_ms == Some(task.order_time_ms),
            "terminal tasks are ordered by their finish time",
        ),
        (
            (task.state == TaskState::Paused) == task.paused_from.is_some(),
            "a task remembers where to resume exactly while it is paused",
        ),
        (
            task.paused_from.is_none_or(|(state, _)| {
                use TaskState::{Blocked, Pending, Scheduled};
                matches!(state, Pending | Scheduled | Blocked)
            }),
            "only waiting tasks are paused",
        ),
        (
            !task.state.is_leased()
                || (task.attempt > 0
                    && task.claim_time_ms.is_some()
                    && !task.holder.worker_id.is_empty()
                    && task.holder.settle_digest == 0),
            "a leased task has an attempt, a holder, and no end",
        ),
        (
            task.state != TaskState::Succeeded || reason.is_none(),
            "a task that succeeded has no failure",
        ),
        (task.state != TaskState::Failed || reason.is_some(), "a task that failed says why"),
        (
            !stops || reason == Some(FailureReason::Cancelled),
            "a cancelled task says who cancelled it",
        ),
        (
            task.state != TaskState::Scheduled
                || task.not_before_ms.is_none_or(|time_ms| time_ms <= task.order_time_ms),
            "a scheduled task is not due before its not_before",
        ),
        (
            task.revision > 0
                && task.attempt >= 0
                && task.run >= 0
                && task.failures >= 0
                && task.crashes >= 0
                && task.context_version >= 0,
            "counters count",
        ),
        (
            task.failures + task.crashes <= task.attempt,
            "every failure and every crash is one of an attempt",
        ),
        (task.progress.metrics.len() <= METRICS_MAX, "metrics are few"),
    ])
}

/// Whether one row may follow the other by this event.
///
/// # Errors
/// The rule that is broken.
pub fn check_step(before: &Task, event: &Event, after: &Transition) -> Result<(), &'static str> {
    check_task(&after.task)?;
    let task = &after.task;
    let claimed = matches!(event, Event::Claim { .. });
    let retried = matches!(event, Event::Retry { .. });
    let ends = before.state.is_leased() && !task.state.is_leased();
    rules(&[
        (edge::is_allowed(before.state, event.name(), task.state), "the edge is in the table"),
        (task.revision == before.revision + 1, "every write raises the revision by one"),
        (
            task.attempt == before.attempt + i32::from(claimed),
            "a claim raises the attempt by one, and nothing else changes it",
        ),
        (task.run == before.run + i32::from(retried), "a retry opens a run, and nothing else does"),
        (
            !before.state.is_terminal() || retried || task.state == before.state,
            "nothing but a retry follows the end",
        ),
        (
            after.ended.is_some() == ends,
            "an attempt goes into the history exactly when its lease ends",
        ),
        (
            after.ended.as_ref().is_none_or(|ended| ended.attempt == before.attempt),
            "the attempt that ended is the one in force",
        ),
        (
            task.context_version >= before.context_version
                && (task.context_version > before.context_version || after.context.is_none()),
            "a new context has a new version",
        ),
        (
            task.id == before.id
                && task.user == before.user
                && task.create_time_ms == before.create_time_ms,
            "id, owner and create time never change",
        ),
    ])
}

fn rules(rules: &[(bool, &'static str)]) -> Result<(), &'static str> {
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(*rule))
}

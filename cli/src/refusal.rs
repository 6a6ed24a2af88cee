//! What the broker refuses, in the words of who typed it: flags, or the fields of a file.

use crate::{connection::Broker, error::CliError};
use asyncflow_sdk::Error as SdkError;

/// Fields of the protocol that files and flags call otherwise.
const WORDS: [(&str, &str); 13] = [
    (".cron.expression", ".cron"),
    (".cron.time_zone", ".time_zone"),
    (".interval", ".every"),
    (".once", ".at"),
    (".start_time", ".start"),
    (".end_time", ".end"),
    (".chain.steps", ".chain"),
    (".task_type", ".type"),
    (".command.program", ".command"),
    (".retry.every", ".retry_interval"),
    (".retry.max_interval", ".max_retry_interval"),
    (".retry.", "."),
    (".max_running_time", ".max_time"),
];

/// The error of a call about a thing that was described in a file or by flags. `place` names what
/// was typed, by the path of a field below the thing.
pub fn told(
    broker: &Broker,
    error: SdkError,
    thing: &str,
    place: impl Fn(&str) -> String,
) -> CliError {
    let violations = error.violations();
    if violations.is_empty() {
        return broker.explain(error);
    }
    let mut text = format!("the {thing} is refused:");
    for violation in &violations {
        let below = violation.field.strip_prefix(thing).unwrap_or(&violation.field);
        let place = place(&as_typed(below));
        text.push_str(&format!("\n  {place}: {}", violation.description));
    }
    if let Some(reason) = error.reason() {
        text.push_str(&format!("\n  ({reason}, see docs/errors/{reason}.md)"));
    }
    CliError::Failed(text)
}

/// The flag by which this part of a schedule was given.
pub fn flag(path: &str) -> String {
    let own = path.strip_prefix("task.").unwrap_or(path);
    match own.split(['.', '[']).next().unwrap_or_default() {
        "" | "task" => "the schedule".to_owned(),
        "labels" => "--label".to_owned(),
        "signals" => "--await".to_owned(),
        "command" => "the command after --".to_owned(),
        name => format!("--{}", name.replace('_', "-")),
    }
}

fn as_typed(path: &str) -> String {
    let mut path = path.to_owned();
    for (from, to) in WORDS {
        path = path.replace(from, to);
    }
    path.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_they_were_typed() {
        for (field, typed, as_flag) in [
            (".interval", "every", "--every"),
            (".cron.time_zone", "time_zone", "--time-zone"),
            (".task.retry.interval", "task.retry_interval", "--retry-interval"),
            (".task.retry.max_retries", "task.max_retries", "--max-retries"),
            (".task.command.program", "task.command", "the command after --"),
            (".labels[1].key", "labels[1].key", "--label"),
            ("", "", "the schedule"),
        ] {
            assert_eq!(as_typed(field), typed);
            assert_eq!(flag(typed), as_flag);
        }
        assert_eq!(as_typed(".nodes[0].chain.steps[1].run_if"), "nodes[0].chain[1].run_if");
    }
}

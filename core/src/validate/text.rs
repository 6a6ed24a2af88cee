//! Texts: bounded in bytes, without control characters, sometimes of one alphabet.

use std::str::FromStr;

use super::at::At;
use crate::{
    id::{IdError, OperationId, ScheduleId, TaskId, TypeName, WorkflowId},
    violation::{Violations, shown},
};

/// At most `bytes_max` bytes, no control character. May be empty.
pub fn line(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    length(value, bytes_max, at, violations);
    if let Some(bad) = value.chars().find(|c| c.is_control()) {
        let what = format!(
            "{} contains the control character {}; none is allowed",
            shown(value),
            bad.escape_default()
        );
        violations.add(at, what);
    }
}

/// A [`line`] that must not be empty or blank.
pub fn required_line(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    if value.trim().is_empty() {
        return violations.add(at, format!("must not be blank; 1 to {bytes_max} bytes"));
    }
    line(value, bytes_max, at, violations);
}

/// At most `bytes_max` bytes of text for people: line breaks and tabs are allowed, other control
/// characters are not.
pub fn prose(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    length(value, bytes_max, at, violations);
    let bad = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some(bad) = value.chars().find(bad) {
        let what = format!(
            "contains the control character {}; only line breaks and tabs are allowed",
            bad.escape_default()
        );
        violations.add(at, what);
    }
}

/// No longer than `bytes_max` bytes and no NUL; any other character may occur.
pub fn without_nul(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    length(value, bytes_max, at, violations);
    if value.contains('\0') {
        violations.add(at, format!("{} contains a NUL character", shown(value)));
    }
}

/// 1 to `bytes_max` characters `[A-Za-z0-9._-]`: the id of a worker and the like.
pub fn token(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if value.is_empty() || value.len() > bytes_max || !value.bytes().all(fits) {
        let what =
            format!("{} is not 1 to {bytes_max} characters of A-Z a-z 0-9 . _ -", shown(value));
        violations.add(at, what);
    }
}

/// The name of a task type.
pub fn type_name(value: &str, at: At<'_>, violations: &mut Violations) -> Option<TypeName> {
    match TypeName::new(value) {
        Ok(name) => Some(name),
        Err(error) => {
            violations.add(at, format!("{} is not allowed: {error}", shown(value)));
            None
        }
    }
}

/// The id of a task.
pub fn task_id(value: &str, at: At<'_>, violations: &mut Violations) -> Option<TaskId> {
    id(value, at, violations)
}

/// The id of a workflow.
pub fn workflow_id(value: &str, at: At<'_>, violations: &mut Violations) -> Option<WorkflowId> {
    id(value, at, violations)
}

/// The id of a schedule.
pub fn schedule_id(value: &str, at: At<'_>, violations: &mut Violations) -> Option<ScheduleId> {
    id(value, at, violations)
}

/// The id of an operation.
pub fn operation_id(value: &str, at: At<'_>, violations: &mut Violations) -> Option<OperationId> {
    id(value, at, violations)
}

fn id<T: FromStr<Err = IdError>>(
    value: &str,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<T> {
    match value.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            violations.add(at, format!("{} is not allowed: {error}", shown(value)));
            None
        }
    }
}

/// At most `bytes_max` bytes, cut at a border between characters: for messages of our own making
/// and of workers, which are shortened and not refused. Control characters become spaces.
pub fn cut(value: &str, bytes_max: usize) -> String {
    let end = value.floor_char_boundary(bytes_max);
    let clean = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c };
    // A control character of two bytes (U+0080 …) becomes a space of one: never longer.
    value[..end].chars().map(clean).collect()
}

fn length(value: &str, bytes_max: usize, at: At<'_>, violations: &mut Violations) {
    if value.len() > bytes_max {
        let what = format!("{} is too long; at most {bytes_max} bytes", shown(value));
        violations.add(at, what);
    }
}

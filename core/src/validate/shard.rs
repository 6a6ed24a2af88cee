//! The shard that a call names by type and number.

use super::{at::At, number, text};
use crate::{
    id::{ShardId, TypeName},
    violation::Violations,
};

/// Checks the type of RollShard.
///
/// # Errors
/// [`Violations`] if it is no name of a type.
pub fn task_type(task_type: &str) -> Result<TypeName, Violations> {
    let mut violations = Violations::new();
    let name = text::type_name(task_type, At::REQUEST.field("task_type"), &mut violations);
    violations.ok_or(name)
}

/// Checks type and number of a shard.
///
/// # Errors
/// [`Violations`] if one of them is wrong, or both are.
pub fn shard(task_type: &str, number: i32) -> Result<ShardId, Violations> {
    let mut violations = Violations::new();
    let name = text::type_name(task_type, At::REQUEST.field("task_type"), &mut violations);
    let numbers = 1..=i64::from(i32::MAX);
    number::in_range(number, numbers, At::REQUEST.field("number"), &mut violations);
    violations.ok_or(name.map(|task_type| ShardId { task_type, number }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn both_parts_are_checked_at_once() {
        assert_eq!(shard("train", 2).unwrap().task_table(), "t_train_2");
        let fields = |wrong: Violations| {
            wrong.into_list().into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(shard("../t", 0).unwrap_err()), ["task_type", "number"]);
        assert_eq!(fields(shard("train", -1).unwrap_err()), ["number"]);
        assert_eq!(fields(task_type("").unwrap_err()), ["task_type"]);
    }
}

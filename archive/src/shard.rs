//! The name of a shard in an archive, `<type>-<number>`.

use crate::error::ArchiveError;
use std::{fmt, str::FromStr};

/// The longest name of a task type, in bytes.
const TYPE_BYTES_MAX: usize = 40;

/// One shard of a task type. Its name is part of paths, so its characters are checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardName {
    task_type: String,
    number: i32,
}

impl ShardName {
    /// Checks the parts of a name: a type is `[a-z][a-z0-9_]{0,39}`, a number is from 1.
    ///
    /// # Errors
    /// [`ArchiveError::Options`].
    pub fn new(task_type: &str, number: i32) -> Result<Self, ArchiveError> {
        let head = task_type.starts_with(|c: char| c.is_ascii_lowercase());
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = task_type.len() <= TYPE_BYTES_MAX && task_type.bytes().all(known);
        if head && fits && number >= 1 {
            Ok(Self { task_type: task_type.to_owned(), number })
        } else {
            Err(unnamed(&format!("{task_type}-{number}")))
        }
    }

    /// The shard that a task id names: `train-1-0c5wzq8a7r2kd` is in `train-1`.
    ///
    /// # Errors
    /// [`ArchiveError::Options`] when it is no task id.
    pub fn of_task(id: &str) -> Result<Self, ArchiveError> {
        let (shard, key) = id.rsplit_once('-').ok_or_else(|| unnamed(id))?;
        let is_key = key.len() == 13 && key.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_key { shard.parse() } else { Err(unnamed(id)) }
    }

    pub fn task_type(&self) -> &str {
        &self.task_type
    }

    /// From 1.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Whether a task id names this shard.
    pub(crate) fn holds(&self, id: &str) -> bool {
        Self::of_task(id).is_ok_and(|shard| shard == *self)
    }
}

fn unnamed(text: &str) -> ArchiveError {
    ArchiveError::Options(format!(
        "has no shard or task {text:?}: a shard is <type>-<number>, e.g. train-1, \
         a task <type>-<number>-<13 characters>"
    ))
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task_type, self.number)
    }
}

impl FromStr for ShardName {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let (task_type, number) = text.rsplit_once('-').ok_or_else(|| unnamed(text))?;
        let canonical = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| canonical).ok_or_else(|| unnamed(text))?;
        Self::new(task_type, number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_read_and_what_could_leave_the_folder_is_refused() {
        let shard: ShardName = "digit_train-12".parse().unwrap();
        assert_eq!((shard.task_type(), shard.number()), ("digit_train", 12));
        assert_eq!(ShardName::of_task("digit_train-12-0c5wzq8a7r2kd").unwrap(), shard);
        assert!(shard.holds("digit_train-12-0c5wzq8a7r2kd"));
        assert!(!shard.holds("digit_train-1-0c5wzq8a7r2kd"));
        for wrong in ["", "train", "train-0", "train-01", "../x-1", "Train-1", "a/b-1", "-1", "a-"]
        {
            assert!(wrong.parse::<ShardName>().is_err(), "{wrong}");
        }
        for wrong in ["train-1", "train-1-short", "train-1-0c5wzq8a7r2k/", "x"] {
            assert!(ShardName::of_task(wrong).is_err(), "{wrong}");
        }
    }
}

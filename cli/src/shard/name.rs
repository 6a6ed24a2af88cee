//! A shard as people type it.

use std::str::FromStr;

/// `train-2`: the second shard of `train`, as `shard list -o id` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardName {
    pub task_type: String,
    pub number: i32,
}

impl FromStr for ShardName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not TYPE-NUMBER, e.g. train-2; see `shard list`");
        let (task_type, number) = text.rsplit_once('-').ok_or_else(usage)?;
        let number = number.parse().map_err(|_| usage())?;
        Ok(Self { task_type: task_type.to_owned(), number })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_is_a_type_and_a_number() {
        let name: ShardName = "train_2-17".parse().unwrap();
        assert_eq!(name, ShardName { task_type: "train_2".to_owned(), number: 17 });
        for wrong in ["train", "train-", "train-two", ""] {
            assert!(wrong.parse::<ShardName>().unwrap_err().contains("train-2"), "{wrong}");
        }
    }
}

//! Shard tables: their names and their life.
//!
//! `CREATING → OPEN → CLOSED → DRAINED → DROPPING → gone`. New tasks go into the OPEN shard; claims
//! look into every shard that is not DRAINED, oldest first; DRAINED is a hint that is re-checked.

use crate::{id::ShardId, task_type::TaskType};

/// Where a shard is in its life. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ShardState {
    Creating = 1,
    Open = 2,
    Closed = 3,
    Drained = 4,
    Dropping = 5,
    /// The table is dropped; the registry row stays, so that its ids are answered with EXPIRED.
    Gone = 6,
}

impl ShardState {
    pub const ALL: [ShardState; 6] =
        [Self::Creating, Self::Open, Self::Closed, Self::Drained, Self::Dropping, Self::Gone];

    /// The stored number, 1 to 6.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A row of the registry of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    pub state: ShardState,
    /// +1 at every change of state and every repair of its counts.
    pub version: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    /// When new tasks began to go elsewhere.
    pub close_time_ms: Option<i64>,
    /// When all its tasks were found terminal; `None` again when one of them is retried.
    pub drain_time_ms: Option<i64>,
    /// Where the manifest of its archive is; empty before it was archived.
    pub archive: String,
}

impl ShardId {
    /// `t_<type>_<n>`: the tasks.
    pub fn task_table(&self) -> String {
        format!("t_{}_{}", self.task_type, self.number)
    }

    /// `a_<type>_<n>`: the ended attempts.
    pub fn attempt_table(&self) -> String {
        format!("a_{}_{}", self.task_type, self.number)
    }

    /// `l_<type>_<n>`: the labels, one row each, the index of a list by label.
    pub fn label_table(&self) -> String {
        format!("l_{}_{}", self.task_type, self.number)
    }
}

/// Why a shard is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollReason {
    /// It has `shard_max_rows` rows or more.
    Rows,
    /// It has rows and has reached the type's effective maximum age.
    Age,
}

impl TaskType {
    /// The age in ms at which an open shard with rows is closed; `None` = at no age.
    ///
    /// A type whose tasks are archived gets its tasks out by whole shards only, so that without
    /// an age of its own a shard is closed at the age at which its first tasks may go.
    pub fn effective_max_age_ms(&self) -> Option<i64> {
        match (self.shard_max_age_ms, self.retention_ms) {
            (max_age_ms @ 1.., _) => Some(max_age_ms),
            (_, retention_ms @ 1..) if self.archive => Some(retention_ms),
            _ => None,
        }
    }

    /// Whether an open shard with so many rows and of such an age has to be closed, and why.
    pub fn roll_reason(&self, rows: i64, age_ms: i64) -> Option<RollReason> {
        if rows >= self.shard_max_rows {
            return Some(RollReason::Rows);
        }
        let max_age_ms = self.effective_max_age_ms()?;
        (rows > 0 && age_ms >= max_age_ms).then_some(RollReason::Age)
    }

    /// How full a shard with so many rows is; 1.0 = at its limit, more when it is over it.
    pub fn fill_ratio(&self, rows: i64) -> f64 {
        rows as f64 / self.shard_max_rows.max(1) as f64
    }

    /// Tasks that ended before this time may go; `None` = they are kept for ever.
    pub fn expire_before_ms(&self, now_ms: i64) -> Option<i64> {
        (self.retention_ms > 0).then(|| now_ms.saturating_sub(self.retention_ms))
    }

    /// Whether a shard whose last task ended at `last_finish_ms` (`None`: it holds no task) may
    /// be dropped. Only one that is drained may: the others are emptied row by row, or wait.
    pub fn may_drop(&self, state: ShardState, last_finish_ms: Option<i64>, now_ms: i64) -> bool {
        let Some(before_ms) = self.expire_before_ms(now_ms) else { return false };
        state == ShardState::Drained && last_finish_ms.is_none_or(|last| last < before_ms)
    }

    /// The time before which terminal tasks are deleted row by row from open and closed shards;
    /// `None` = they are not: drained shards go as a whole, and so do all shards of a type whose
    /// tasks are archived.
    pub fn delete_rows_before_ms(&self, now_ms: i64) -> Option<i64> {
        self.expire_before_ms(now_ms).filter(|_| !self.archive)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::id::TypeName;

    const NOW_MS: i64 = 1_000_000;

    fn task_type(change: impl FnOnce(&mut TaskType)) -> TaskType {
        let mut task_type = TaskType::with_defaults(TypeName::new("train").unwrap(), 0);
        task_type.shard_max_rows = 100;
        change(&mut task_type);
        task_type
    }

    #[test]
    fn a_shard_is_rolled_at_its_rows_whatever_its_age() {
        let task_type = task_type(|_| {});
        assert_eq!(task_type.roll_reason(99, i64::MAX), None);
        assert_eq!(task_type.roll_reason(100, 0), Some(RollReason::Rows));
        assert_eq!(task_type.roll_reason(101, 0), Some(RollReason::Rows));
    }

    #[test]
    fn a_shard_is_rolled_at_its_age_only_with_rows_in_it() {
        let task_type = task_type(|t| t.shard_max_age_ms = 1_000);
        assert_eq!(task_type.roll_reason(0, i64::MAX), None);
        assert_eq!(task_type.roll_reason(1, 999), None);
        assert_eq!(task_type.roll_reason(1, 1_000), Some(RollReason::Age));
    }

    #[test]
    fn archived_types_are_rolled_at_the_age_of_their_retention_unless_they_say_another() {
        let age = |max_age_ms, retention_ms, archive| {
            let change = |t: &mut TaskType| {
                t.shard_max_age_ms = max_age_ms;
                t.retention_ms = retention_ms;
                t.archive = archive;
            };
            task_type(change).effective_max_age_ms()
        };
        assert_eq!(age(0, 0, false), None);
        assert_eq!(age(0, 0, true), None);
        assert_eq!(age(0, 50, false), None);
        assert_eq!(age(0, 50, true), Some(50));
        assert_eq!(age(7, 50, true), Some(7));
        assert_eq!(age(7, 0, false), Some(7));
    }

    #[test]
    fn only_a_drained_shard_whose_last_task_is_past_its_retention_is_dropped() {
        let kept = task_type(|t| t.retention_ms = 1_000);
        let last = Some(NOW_MS - 1_001);
        assert!(kept.may_drop(ShardState::Drained, last, NOW_MS));
        assert!(kept.may_drop(ShardState::Drained, None, NOW_MS));
        assert!(!kept.may_drop(ShardState::Drained, Some(NOW_MS - 1_000), NOW_MS));
        assert!(!kept.may_drop(ShardState::Drained, Some(NOW_MS + 5), NOW_MS));
        for state in ShardState::ALL.into_iter().filter(|state| *state != ShardState::Drained) {
            assert!(!kept.may_drop(state, last, NOW_MS), "{state:?}");
        }
        let for_ever = task_type(|_| {});
        assert!(!for_ever.may_drop(ShardState::Drained, Some(0), NOW_MS));
    }

    #[test]
    fn rows_go_one_by_one_unless_they_are_kept_or_archived() {
        let before_ms = |retention_ms, archive| {
            let change = |t: &mut TaskType| (t.retention_ms, t.archive) = (retention_ms, archive);
            task_type(change).delete_rows_before_ms(NOW_MS)
        };
        assert_eq!(before_ms(1_000, false), Some(NOW_MS - 1_000));
        assert_eq!(before_ms(1_000, true), None);
        assert_eq!(before_ms(0, false), None);
        assert_eq!(before_ms(i64::MAX, false), Some(NOW_MS - i64::MAX));
    }

    #[test]
    fn the_fill_is_a_share_of_the_limit() {
        let task_type = task_type(|_| {});
        assert_eq!(task_type.fill_ratio(80), 0.8);
        assert_eq!(task_type.fill_ratio(150), 1.5);
    }
}

//! Operations: one verb for all tasks that match a filter, carried out bit by bit.
//!
//! An operation goes through the tasks by their ids, from the newest one that was there when it
//! began down to the oldest. Ids never change, so that no task is met twice, and one that came
//! later is not met at all: an operation ends.

use crate::{
    event::Event,
    filter::{self, Filter},
    id::{OperationId, key_time_ms},
    page::PagePosition,
    state::TaskState,
    violation::Violation,
};

/// What is done to the tasks. The numbers are stored, and those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationKind {
    Cancel = 1,
    Retry = 2,
    Delete = 3,
    /// Delete what has ended.
    Purge = 4,
}

const LIVE: &[TaskState] = &[
    TaskState::Pending,
    TaskState::Scheduled,
    TaskState::Blocked,
    TaskState::Running,
    TaskState::Paused,
];
const ENDED: &[TaskState] = &[TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled];
const NOT_SUCCEEDED: &[TaskState] = &[TaskState::Failed, TaskState::Cancelled];

impl OperationKind {
    pub const ALL: [OperationKind; 4] = [Self::Cancel, Self::Retry, Self::Delete, Self::Purge];

    /// The stored number, 1 to 4.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The kind with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The verb.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }

    /// The states in which it makes sense; in others every task would be refused.
    pub const fn sensible_states(self) -> &'static [TaskState] {
        match self {
            Self::Cancel => LIVE,
            Self::Retry | Self::Purge => ENDED,
            Self::Delete => &TaskState::ALL,
        }
    }

    /// The states that are meant by a filter that names none; empty = all. What succeeded is run
    /// again only when that is said.
    const fn meant_states(self) -> &'static [TaskState] {
        match self {
            Self::Cancel => LIVE,
            Self::Retry => NOT_SUCCEEDED,
            Self::Purge => ENDED,
            Self::Delete => &[],
        }
    }
}

/// How far an operation is. The numbers are stored, and those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OperationState {
    Running = 1,
    /// It went through to its end.
    Succeeded = 2,
    /// It came to no end, or some tasks could not be changed because of an error.
    Failed = 3,
    /// Somebody stopped it; what it had done stays done.
    Cancelled = 4,
}

impl OperationState {
    pub const ALL: [OperationState; 4] =
        [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The stored number, 1 to 4.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Nothing more will happen.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// A checked request for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOperation {
    pub kind: OperationKind,
    /// Who asked for it.
    pub user: String,
    /// The filter as it was given; empty = every task.
    pub filter: String,
    /// Only this user's tasks, because whoever asked may not change those of others.
    pub only_user: Option<String>,
    /// It ends when it has changed so many tasks.
    pub changes_max: Option<i64>,
    /// Of a cancel: why, for people.
    pub message: String,
    /// Of a retry: forget stage and context.
    pub from_start: bool,
    pub request_id: Option<String>,
}

impl NewOperation {
    /// The tasks that are meant, whenever they were created.
    ///
    /// # Errors
    /// What is wrong with the filter, which was checked before.
    pub fn chosen(&self) -> Result<Filter, Violation> {
        let mut chosen = filter::parse(&self.filter)?;
        if chosen.states.is_empty() {
            chosen.states = self.kind.meant_states().to_vec();
        }
        if let Some(user) = &self.only_user {
            chosen.user = Some(user.clone());
        }
        Ok(chosen)
    }

    /// The same without those that came after the operation with this id. A list by it goes by the
    /// ids of the tasks, because it is bounded by their times.
    ///
    /// # Errors
    /// As [`chosen`](Self::chosen).
    pub fn chosen_before(&self, id: OperationId) -> Result<Filter, Violation> {
        let mut chosen = self.chosen()?;
        let border_ms = key_time_ms(id.0) + 1;
        let before_ms = chosen.created_before_ms.unwrap_or(border_ms).min(border_ms);
        chosen.created_before_ms = Some(before_ms);
        Ok(chosen)
    }

    /// What happens to each task; `None`: it is deleted.
    pub fn event(&self) -> Option<Event> {
        match self.kind {
            OperationKind::Cancel => Some(Event::Cancel { message: self.message.clone() }),
            OperationKind::Retry => Some(Event::retry(self.from_start)),
            OperationKind::Delete | OperationKind::Purge => None,
        }
    }
}

/// Where the operation with this id begins: at the newest task that was there before it.
pub fn beginning(id: OperationId) -> PagePosition {
    PagePosition { key: id.0, ..PagePosition::default() }
}

/// How many tasks an operation met, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub matched: i64,
    pub changed: i64,
    /// Their states, or workflows, did not allow it, or they had moved on since they were found.
    pub skipped: i64,
    /// An error was in the way.
    pub failed: i64,
}

/// Why a task was not changed, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issue {
    pub task_id: String,
    pub message: String,
}

/// Issues that an operation remembers: the first ones.
pub const ISSUES_MAX: usize = 10;
/// What is said about one of them, at most.
pub const ISSUE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::id::{EPOCH_MS, KeyGenerator, first_key_at};

    fn new(kind: OperationKind, filter: &str) -> NewOperation {
        NewOperation {
            kind,
            user: "ann".into(),
            filter: filter.into(),
            only_user: None,
            changes_max: None,
            message: String::new(),
            from_start: false,
            request_id: None,
        }
    }

    #[test]
    fn a_filter_without_states_means_those_of_the_verb() {
        let states = |kind, filter| new(kind, filter).chosen().unwrap().states;
        assert_eq!(states(OperationKind::Cancel, "user = a"), LIVE);
        assert_eq!(states(OperationKind::Retry, ""), NOT_SUCCEEDED);
        assert_eq!(states(OperationKind::Purge, ""), ENDED);
        assert!(states(OperationKind::Delete, "").is_empty());
        assert_eq!(states(OperationKind::Retry, "state = SUCCEEDED"), [TaskState::Succeeded]);
        for kind in OperationKind::ALL {
            let meant = kind.meant_states().iter();
            assert!(meant.into_iter().all(|state| kind.sensible_states().contains(state)));
            assert_eq!(OperationKind::from_code(kind.code()), Some(kind));
        }
    }

    #[test]
    fn rights_are_a_part_of_what_is_chosen() {
        let operation = NewOperation {
            only_user: Some("ann".into()),
            ..new(OperationKind::Delete, "labels.a = b")
        };
        assert_eq!(operation.chosen().unwrap().user.as_deref(), Some("ann"));
    }

    #[test]
    fn tasks_that_were_there_are_chosen_and_later_ones_are_not() {
        let now_ms = EPOCH_MS + 5_000;
        let mut keys = KeyGenerator::new(7);
        // More than fit into a millisecond, so that keys run ahead of the clock.
        let before: Vec<i64> = (0..10_000).map(|_| keys.next_key(now_ms)).collect();
        let id = OperationId(keys.next_key(now_ms));
        let after = keys.next_key(now_ms);
        let chosen = new(OperationKind::Cancel, "").chosen_before(id).unwrap();
        let border = first_key_at(chosen.created_before_ms.unwrap());
        let begins = beginning(id).key;
        assert!(before.iter().all(|key| *key < border && *key < begins));
        assert!(after > begins);
        let earlier = new(OperationKind::Cancel, "create_time < \"2024-01-01T00:00:01Z\"");
        let chosen = earlier.chosen_before(id).unwrap();
        assert_eq!(chosen.created_before_ms, Some(EPOCH_MS + 1_000));
    }
}

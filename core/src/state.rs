//! The states of a task and what each of them means for the row.
//!
//! The numbers are stored. PENDING is the largest on purpose: InnoDB keeps delete-marked entries of
//! the rows that left a state right behind the live ones, so a claim that scans for PENDING and
//! finds fewer rows than it asked for would walk on into the entries of whatever state follows. As
//! the last value of the index nothing follows it.

use serde::{Deserialize, Serialize};

/// Where a task is in its life. See `docs/STATE-MACHINE.md` for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum TaskState {
    /// Ended well; its result is kept.
    Succeeded = 1,
    /// Ended for good without a result; `Failure` says why.
    Failed = 2,
    /// Stopped because somebody asked for it.
    Cancelled = 3,
    /// Taken out of the queue by hand.
    Paused = 4,
    /// Waits for other tasks or a condition.
    Blocked = 5,
    /// Waits for a time: not_before, back-off, snooze.
    Scheduled = 6,
    /// Leased by one attempt.
    Running = 7,
    /// Cancel was asked for, the worker is stopping it.
    Cancelling = 8,
    /// Ready to be claimed.
    Pending = 9,
}

impl TaskState {
    /// Every state, in the order of the stored numbers.
    pub const ALL: [TaskState; 9] = [
        TaskState::Succeeded,
        TaskState::Failed,
        TaskState::Cancelled,
        TaskState::Paused,
        TaskState::Blocked,
        TaskState::Scheduled,
        TaskState::Running,
        TaskState::Cancelling,
        TaskState::Pending,
    ];

    /// The stored number, 1 to 9.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None` if there is no such state.
    pub fn from_code(code: i16) -> Option<TaskState> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// No attempt can follow unless RetryTask opens a new run.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// An attempt holds a lease on it.
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }

    /// The name that clients see, in capitals without prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Paused => "PAUSED",
            Self::Blocked => "BLOCKED",
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Pending => "PENDING",
        }
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

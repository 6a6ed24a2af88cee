//! Schedules: tasks and workflows that are made at given times.
//!
//! [`cron`] reads an expression and finds what it matches on the clock on the wall, [`zone`] turns
//! that into points in time, [`spec`] says when a schedule fires, [`plan`] what is to be done at
//! one look at it, and [`action`] what is made.

pub mod action;
pub mod cron;
pub mod plan;
pub mod spec;
pub mod zone;

/// Whether a schedule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScheduleState {
    /// It fires at its times.
    Active,
    /// Somebody paused it.
    Paused,
    /// No fire time is left.
    Finished,
}

impl ScheduleState {
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Finished];

    /// The number in the database and in the protocol.
    pub const fn code(self) -> i16 {
        match self {
            Self::Active => 1,
            Self::Paused => 2,
            Self::Finished => 3,
        }
    }

    /// The state with this number.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// Why a fire time is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FireCause {
    /// Its time had come.
    Time,
    /// Somebody asked for a run at once.
    Hand,
    /// Somebody asked for the fire times of an interval in the past.
    Backfill,
}

impl FireCause {
    pub const ALL: [Self; 3] = [Self::Time, Self::Hand, Self::Backfill];

    /// The number in the database and in the protocol.
    pub const fn code(self) -> i16 {
        match self {
            Self::Time => 1,
            Self::Hand => 2,
            Self::Backfill => 3,
        }
    }

    /// The cause with this number.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }
}

/// What became of a fire time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FireOutcome {
    /// It made a task or a workflow.
    Fired,
    /// It waits until the run before it has ended.
    Queued,
    /// The run before it had not ended.
    Skipped,
    /// It was over for longer than the catch-up window.
    Missed,
    /// What it should have made could not be made.
    Failed,
}

impl FireOutcome {
    pub const ALL: [Self; 5] =
        [Self::Fired, Self::Queued, Self::Skipped, Self::Missed, Self::Failed];

    /// The number in the database and in the protocol.
    pub const fn code(self) -> i16 {
        match self {
            Self::Fired => 1,
            Self::Queued => 2,
            Self::Skipped => 3,
            Self::Missed => 4,
            Self::Failed => 5,
        }
    }

    /// The outcome with this number.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

//! What must hold of a task besides the edges of the state machine, for an event to be applied.

use asyncflow_core::{lease::is_out_of_force, state::TaskState, task::Task};

/// What must hold besides the edges of the state machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guard {
    None,
    /// This attempt is in force.
    Attempt(i32),
    /// This attempt is in force, was not renewed since, and its lease is in force no more.
    Silent {
        attempt: i32,
        beats: i64,
    },
    /// It is terminal and ended before this time.
    FinishedBefore(i64),
    /// It is in one of these states and, if it is terminal, ended before this time.
    Chosen {
        states: StateSet,
        finished_before_ms: i64,
    },
}

/// A set of states, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateSet(u16);

impl StateSet {
    /// These states; none = all.
    pub fn of(states: &[TaskState]) -> Self {
        let states = if states.is_empty() { &TaskState::ALL } else { states };
        Self(states.iter().fold(0, |bits, state| bits | 1 << state.code()))
    }

    fn has(self, state: TaskState) -> bool {
        self.0 & 1 << state.code() != 0
    }
}

impl Guard {
    pub(super) fn holds(self, task: &Task, now_ms: i64) -> bool {
        match self {
            Self::None => true,
            Self::Attempt(attempt) => task.attempt == attempt && task.state.is_leased(),
            Self::Silent { attempt, beats } => {
                task.attempt == attempt
                    && task.holder.beats == beats
                    && task.state.is_leased()
                    && is_out_of_force(task.order_time_ms, now_ms)
            }
            Self::FinishedBefore(before_ms) => {
                task.finish_time_ms.is_some_and(|finish_ms| finish_ms < before_ms)
            }
            Self::Chosen { states, finished_before_ms } => {
                let is_later = |finish_ms| finish_ms >= finished_before_ms;
                states.has(task.state) && !task.finish_time_ms.is_some_and(is_later)
            }
        }
    }
}

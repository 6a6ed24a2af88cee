//! What is done wrong on purpose: a model that does not see it proves nothing.

use asyncflow_core::{
    event::{Event, Fence},
    state::TaskState,
};

use super::row::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Whoever names the task ends it.
    CompletionById,
    /// Whoever names a task that is leased ends it.
    CompletionByState,
    /// A save is taken from whoever names a task that is leased.
    SaveByState,
    /// The session is not compared.
    AnySession,
    /// The attempt is not compared.
    AnyAttempt,
    /// A claim does not ask whether the task is PENDING.
    ClaimOfAnyState,
    /// A claim by the session that had it last does not raise the attempt.
    AttemptKept,
    /// A row is written without a look at its revision.
    NoCompare,
    /// A repetition is not known.
    NoDedupe,
    /// What has run out is taken back at the first look.
    OneLook,
    /// The database was away, and suspicions go on.
    NoOutage,
    /// What was decided at a look is written whatever has happened since.
    ReapWithoutGuard,
    /// Who comes back gives back also what others hold.
    ReleaseOfAnybody,
    /// What has run out is not taken back.
    NoReap,
}

impl Bug {
    /// What a broker with this bug takes the row and the event for.
    pub fn forges(self, mut row: Row, event: Event) -> (Row, Event) {
        let is_settle = matches!(event, Event::Settle { .. });
        match self {
            Self::CompletionById if is_settle => {
                let row = row.forged(TaskState::Running);
                (row, with_fence(event, |fence| *fence = row.fence()))
            }
            Self::CompletionByState if is_settle && row.state.is_leased() => {
                (row, with_fence(event, |fence| *fence = row.fence()))
            }
            Self::SaveByState if matches!(event, Event::SaveContext { .. }) => {
                (row, with_fence(event, |fence| *fence = row.fence()))
            }
            Self::AnySession => {
                (row, with_fence(event, |fence| fence.session_id = row.fence().session_id))
            }
            Self::AnyAttempt => {
                (row, with_fence(event, |fence| fence.attempt = row.fence().attempt))
            }
            Self::ClaimOfAnyState if matches!(event, Event::Claim { .. }) => {
                (row.forged(TaskState::Pending), event)
            }
            Self::ReapWithoutGuard if event == Event::LeaseExpired && row.state.is_leased() => {
                row.is_run_out = true;
                (row, event)
            }
            _ => (row, event),
        }
    }
}

fn with_fence(mut event: Event, change: impl FnOnce(&mut Fence)) -> Event {
    if let Event::Start { fence, .. }
    | Event::Heartbeat { fence, .. }
    | Event::SaveContext { fence, .. }
    | Event::Settle { fence, .. } = &mut event
    {
        change(fence);
    }
    event
}

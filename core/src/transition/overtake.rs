//! How a task ends by the result of its twin.

use super::{Refusal, Step};
use crate::{
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
    task::{AttemptOutcome, Content, Failure, ResultChange},
};

impl Step {
    /// Also of a task that goes back to the queue meanwhile. Not of one that its owner has paused
    /// or cancels, nor of one that waits for what it has made itself.
    pub(super) fn overtake(
        &mut self,
        twin: &TaskId,
        result: Option<&Content>,
    ) -> Result<(), Refusal> {
        let states = [TaskState::Running, TaskState::Pending, TaskState::Scheduled];
        self.expect(&states, "completed by its twin")?;
        if self.out.task.state == TaskState::Running {
            let message = format!("its twin {twin} was done first");
            let failure = Failure { reason: FailureReason::Overtaken, message };
            self.end_attempt(AttemptOutcome::Released, Some(failure), None);
        }
        self.out.result = Some(result.cloned().map_or(ResultChange::Clear, ResultChange::Keep));
        self.out.task.failure = None;
        self.enter(TaskState::Succeeded, self.now_ms);
        Ok(())
    }
}

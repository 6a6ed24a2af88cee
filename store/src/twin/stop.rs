//! Cancels twins that are needed no more.

use asyncflow_core::{
    event::Event,
    id::TaskId,
    state::TaskState,
    task::{FullTask, Task},
};

use super::row::{self, Twin};
use crate::{Store, error::StoreError, task::Parts, workflow::Followed};

/// Live twins of one task that are looked at: one, and those of runs before that are being stopped.
const TWINS_MAX: u32 = 100;
/// What is said of a twin that is cancelled.
const MESSAGE: &str = "its original is over";

/// Whether the run that a twin belongs to is over, or is being ended by somebody. It never begins
/// again: a retry opens another one.
fn is_over(twin: &Twin, original: Option<&FullTask>) -> bool {
    original.is_none_or(|FullTask { task, .. }| twin.run != task.run || ends(task.state))
}

/// Whether a task in this state has no use for its twin.
const fn ends(state: TaskState) -> bool {
    state.is_terminal() || matches!(state, TaskState::Cancelling)
}

/// Whether a task has no use for its twin any more since this change.
pub(crate) fn gives_up_twin(before: &Task, after: &Task) -> bool {
    after.ties.twinned && ends(after.state) && !ends(before.state)
}

impl Store {
    /// At most `limit` twins that have not ended.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn live_twins(&self, limit: u32) -> Result<Vec<Twin>, StoreError> {
        row::live(self, self.reader(), None, limit).await
    }

    /// Cancels those whose original is over, where nobody else did so; answers how many there are,
    /// those that are being stopped already among them. Whoever should have done so may be gone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tend_twins(&self, twins: &[Twin]) -> Result<u64, StoreError> {
        let (over, followed) = self.stop_those_over(twins).await?;
        self.carry_out(followed.left).await;
        Ok(over)
    }

    /// Cancels the twin of a task that has ended.
    pub(crate) async fn stop_twins(&self, original: &TaskId) -> Result<Followed, StoreError> {
        let twins = row::live(self, self.reader(), Some(original), TWINS_MAX).await?;
        Ok(self.stop_those_over(&twins).await?.1)
    }

    async fn stop_those_over(&self, twins: &[Twin]) -> Result<(u64, Followed), StoreError> {
        let originals: Vec<TaskId> = twins.iter().map(|twin| twin.original.clone()).collect();
        let found = self.get_many(&originals, Parts::NONE).await?;
        let over = twins.iter().zip(&found).filter(|(twin, found)| is_over(twin, found.as_ref()));
        let cancel = Event::Cancel { message: MESSAGE.to_owned() };
        let events: Vec<_> = over.map(|(twin, _)| (twin.twin.clone(), cancel.clone())).collect();
        let count = events.len() as u64;
        Ok((count, self.apply_for_workflow(events).await))
    }
}

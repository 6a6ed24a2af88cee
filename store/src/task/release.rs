//! Gives back what a session of a worker held that is over.

use asyncflow_core::{
    digest,
    event::{Event, Fence, Settle},
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
};

use super::{Applied, ApplyError, apply::Item, guard::Guard};
use crate::{Store, error::StoreError};

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The worker came back as a new process: what the old one ran was lost with it.
    Restarted,
    /// The worker has taken its leave: what it holds it has not begun, or given up.
    Left,
}

impl Departure {
    fn event(self, state: TaskState, fence: Fence) -> Event {
        if self == Self::Restarted || state == TaskState::Cancelling {
            return Event::WorkerRestarted;
        }
        let settle = Settle::release(FailureReason::Drained, "its worker left", 0);
        let digest = digest::settle(&settle, None);
        Event::Settle { fence, settle, digest, exit_code: None, usage: None }
    }
}

impl Store {
    /// Gives back at once every task that `old_session_id` of a worker holds, except those in
    /// `keep` with the same attempt. One answer per task that was tried; `MovedOn` where somebody
    /// else was faster.
    ///
    /// # Errors
    /// Those of the database while it looks for the tasks.
    pub async fn release_session(
        &self,
        worker_id: &str,
        old_session_id: i64,
        keep: &[(TaskId, i32)],
        departure: Departure,
    ) -> Result<Vec<Result<Applied, ApplyError>>, StoreError> {
        let mut items = Vec::new();
        for shard in self.readable_shards(None).await? {
            for state in [TaskState::Running, TaskState::Cancelling] {
                let mut sql = self.sql(&format!(
                    "SELECT id, attempt FROM {} WHERE state = {} AND session_id = ",
                    shard.task_table(),
                    state.code()
                ));
                sql.bind(old_session_id).push(" AND worker_id = ").bind(worker_id);
                for row in sql.all(self.reader()).await? {
                    let id = TaskId { shard: shard.clone(), key: row.try_get_by_index(0)? };
                    let attempt = row.try_get_by_index(1)?;
                    if !keep.iter().any(|(kept, of)| *kept == id && *of == attempt) {
                        let guard = Guard::Attempt(attempt);
                        let fence = Fence { attempt, session_id: old_session_id };
                        items.push(Item { id, event: departure.event(state, fence), guard });
                    }
                }
            }
        }
        Ok(self.apply_items(items, None).await)
    }
}

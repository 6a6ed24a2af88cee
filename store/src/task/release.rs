//! Gives back what a former incarnation of a worker held.

use asyncflow_core::{event::Event, id::TaskId, state::TaskState};

use super::{
    Applied, ApplyError,
    apply::{Guard, Item},
};
use crate::{Store, error::StoreError};

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
                        items.push(Item { id, event: Event::WorkerRestarted, guard });
                    }
                }
            }
        }
        Ok(self.apply_items(items, None).await)
    }
}

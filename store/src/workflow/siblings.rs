//! How long the tasks of a node took.

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    state::TaskState,
};

use super::items::{self, Is};
use crate::{Store, error::StoreError, task::Parts, twin::span_ms};

impl Store {
    /// How long those took that succeeded, of the first `limit` items of a node.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn siblings_took_ms(
        &self,
        workflow: WorkflowId,
        node: u32,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        let items = items::list(self, self.reader(), workflow, Some(node), None, limit).await?;
        let tasks = items.into_iter().filter_map(|(_, is)| match is {
            Is::Task(id) => Some(id),
            Is::Workflow(_) => None,
        });
        let found = self.get_many(&tasks.collect::<Vec<TaskId>>(), Parts::NONE).await?;
        let ended = found.into_iter().flatten().map(|full| full.task);
        let ended = ended.filter(|task| task.state == TaskState::Succeeded);
        Ok(ended
            .filter_map(|task| span_ms(task.start_time_ms, task.finish_time_ms, task.ties))
            .collect())
    }
}

//! Cancels workflows.

use asyncflow_core::{id::WorkflowId, task::Task};

use super::{follow::Happened, row::Workflow};
use crate::{Store, error::StoreError};

impl Store {
    /// Cancels a workflow: nothing more starts, and what runs is stopped. One that is over, or
    /// being cancelled, is left as it is. Answers the workflow after it and the tasks that were
    /// made, such as those that clean up; `None` if there is no such workflow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel_workflow(
        &self,
        id: WorkflowId,
    ) -> Result<Option<(Workflow, Vec<Task>)>, StoreError> {
        let followed = self.happen(vec![(id, Happened::Cancel)]).await?;
        let mut made = followed.made;
        made.extend(self.leave(followed.left).await);
        Ok(self.find_workflow(id).await?.map(|workflow| (workflow, made)))
    }
}

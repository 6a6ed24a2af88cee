//! Retries workflows.

use asyncflow_core::{id::WorkflowId, task::Task, workflow::progress::WorkflowState};

use super::{follow::Happened, row::Workflow};
use crate::{Store, error::StoreError};

/// Why a workflow is not retried.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RetryWorkflowError {
    #[error("there is no such workflow")]
    NotFound,
    /// It is not over, or succeeded.
    #[error("the workflow is in state {}", .0.name())]
    IllegalState(WorkflowState),
    #[error("the workflow is an item of workflow {0}")]
    OfWorkflow(WorkflowId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Takes up a workflow that failed or was cancelled: what did not succeed runs again, and what
    /// depends on it. Answers the workflow after it and the tasks that run now.
    ///
    /// # Errors
    /// [`RetryWorkflowError`].
    pub async fn retry_workflow(
        &self,
        id: WorkflowId,
    ) -> Result<(Workflow, Vec<Task>), RetryWorkflowError> {
        let workflow = self.find_workflow(id).await?.ok_or(RetryWorkflowError::NotFound)?;
        if let Some(parent) = workflow.parent {
            return Err(RetryWorkflowError::OfWorkflow(parent.workflow));
        }
        let state = workflow.progress.state;
        if !matches!(state, WorkflowState::Failed | WorkflowState::Cancelled) {
            return Err(RetryWorkflowError::IllegalState(state));
        }
        let followed = self.happen(vec![(id, Happened::Retry)]).await?;
        let mut made = followed.made;
        made.extend(self.leave(followed.left).await);
        let workflow = self.find_workflow(id).await?.ok_or(RetryWorkflowError::NotFound)?;
        Ok((workflow, made))
    }
}

//! Creates workflows.

use std::sync::atomic::{AtomicU32, Ordering};

use asyncflow_core::{digest, id::WorkflowId, task::Task, workflow::definition::NewWorkflow};
use sea_orm::DatabaseTransaction;

use super::{
    birth::Birth,
    follow::{Followed, bear},
    row::{self, Workflow},
};
use crate::{Store, error::StoreError, ledger::Ledger};

/// A created workflow, or the one that an earlier call with the same request made.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedWorkflow {
    pub workflow: Workflow,
    pub deduplicated: bool,
    /// The tasks that it begins with.
    pub made: Vec<Task>,
}

/// Why a workflow was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateWorkflowError {
    /// The request id was used for other content.
    #[error("the request id was already used for workflow {0}")]
    RequestIdReused(WorkflowId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

enum Outcome {
    Created(Box<Workflow>, Followed),
    Known { workflow: Box<Workflow>, same: bool },
}

struct Request<'a> {
    new: &'a NewWorkflow,
    digest: i64,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates a workflow and the tasks that it begins with, all in one transaction. Its task types
    /// must be there.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// [`CreateWorkflowError`].
    pub async fn create_workflow(
        &self,
        new: &NewWorkflow,
    ) -> Result<CreatedWorkflow, CreateWorkflowError> {
        // A transaction cannot make tables.
        for task_type in new.flow.task_types().into_keys() {
            self.open_shard(task_type).await?;
        }
        let now_ms = self.now_ms().await?;
        let digest = digest::new_workflow(new);
        let request = Request { new, digest, now_ms, runs: AtomicU32::new(0) };
        let outcome = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await
            .map_err(StoreError::exhausted)?;
        match outcome {
            Outcome::Known { workflow, same: true } => {
                Ok(CreatedWorkflow { workflow: *workflow, deduplicated: true, made: Vec::new() })
            }
            Outcome::Known { workflow, .. } => {
                Err(CreateWorkflowError::RequestIdReused(workflow.id))
            }
            Outcome::Created(workflow, Followed { mut made, left }) => {
                self.announce(&made);
                made.extend(self.leave(left).await);
                Ok(CreatedWorkflow { workflow: *workflow, deduplicated: false, made })
            }
        }
    }
}

async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Outcome, StoreError> {
    let Request { new, digest, now_ms, runs } = request;
    // Only a duplicate key tells that a request was made before, so only a repetition looks.
    if runs.fetch_add(1, Ordering::Relaxed) > 0
        && let Some(request_id) = &new.request_id
        && let Some((workflow, first)) = row::by_request(store, tx, &new.user, request_id).await?
    {
        let workflow = Box::new(workflow);
        return Ok(Outcome::Known { workflow, same: first == *digest });
    }
    let id = WorkflowId(store.next_key(*now_ms));
    let birth = Birth::of(new, id, *digest, *now_ms);
    let mut ledger = Ledger::default();
    let followed = bear(store, tx, birth, *now_ms, &mut ledger).await?;
    ledger.write(store, tx, *now_ms).await?;
    let workflow = row::lock(store, tx, id).await?;
    let workflow = workflow.ok_or_else(|| StoreError::Corrupt(format!("{id} is gone")))?;
    Ok(Outcome::Created(Box::new(workflow), followed))
}

//! Creates operations.

use std::sync::atomic::{AtomicU32, Ordering};

use asyncflow_core::{
    digest,
    id::OperationId,
    operation::{NewOperation, OperationState, Tally, beginning},
};
use sea_orm::DatabaseTransaction;

use super::row::{self, Operation};
use crate::{Store, error::StoreError, wake::OPERATIONS};

/// A created operation, or the one that an earlier call with the same request made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedOperation {
    pub operation: Operation,
    pub deduplicated: bool,
}

/// Why an operation was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateOperationError {
    /// The request id was used for another request.
    #[error("the request id was already used for {0}")]
    RequestIdReused(OperationId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Request<'a> {
    new: &'a NewOperation,
    digest: i64,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates an operation, and wakes those who carry it out. It concerns the tasks that are there
    /// at this moment.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// [`CreateOperationError`].
    pub async fn create_operation(
        &self,
        new: &NewOperation,
    ) -> Result<CreatedOperation, CreateOperationError> {
        let now_ms = self.now_ms().await?;
        let digest = digest::new_operation(new);
        let request = Request { new, digest, now_ms, runs: AtomicU32::new(0) };
        let created = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await
            .map_err(StoreError::exhausted)?;
        if created.deduplicated && created.operation.digest != digest {
            return Err(CreateOperationError::RequestIdReused(created.operation.id));
        }
        self.wake().ring([OPERATIONS]);
        Ok(created)
    }
}

async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<CreatedOperation, StoreError> {
    let Request { new, digest, now_ms, runs } = request;
    // Only a duplicate key tells that a request was made before, so only a repetition looks.
    if runs.fetch_add(1, Ordering::Relaxed) > 0
        && let Some(request_id) = &new.request_id
        && let Some(operation) = row::by_request(store, tx, &new.user, request_id).await?
    {
        return Ok(CreatedOperation { operation, deduplicated: true });
    }
    let id = OperationId(store.next_key(*now_ms));
    let operation = Operation {
        id,
        request: (*new).clone(),
        state: OperationState::Running,
        revision: 0,
        tally: Tally::default(),
        issues: Vec::new(),
        error: None,
        position: beginning(id),
        epoch: 0,
        holder: String::new(),
        digest: *digest,
        create_time_ms: *now_ms,
        update_time_ms: *now_ms,
        finish_time_ms: None,
    };
    row::insert(store, tx, &operation).await?;
    Ok(CreatedOperation { operation, deduplicated: false })
}

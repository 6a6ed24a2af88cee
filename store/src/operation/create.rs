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
    /// The user has so many that have not ended.
    #[error("{0} operations of this user have not ended")]
    TooMany(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Request<'a> {
    new: &'a NewOperation,
    digest: i64,
    unfinished_max: u32,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates an operation, and wakes those who carry it out. It concerns the tasks that are there
    /// at this moment. Of a user's operations, so many may be unfinished at a time; those that are
    /// created at the same moment do not see each other.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// [`CreateOperationError`].
    pub async fn create_operation(
        &self,
        new: &NewOperation,
        unfinished_max: u32,
    ) -> Result<CreatedOperation, CreateOperationError> {
        let now_ms = self.now_ms().await?;
        let digest = digest::new_operation(new);
        let request = Request { new, digest, unfinished_max, now_ms, runs: AtomicU32::new(0) };
        let created = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await
            .map_err(StoreError::exhausted)?
            .ok_or(CreateOperationError::TooMany(unfinished_max))?;
        if created.deduplicated && created.operation.digest != digest {
            return Err(CreateOperationError::RequestIdReused(created.operation.id));
        }
        self.wake().ring([OPERATIONS]);
        Ok(created)
    }
}

/// `None`: the user has too many already.
async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Option<CreatedOperation>, StoreError> {
    let Request { new, digest, unfinished_max, now_ms, runs } = request;
    let is_full = row::unfinished(store, tx, &new.user).await? >= i64::from(*unfinished_max);
    // Only a duplicate key tells that a request was made before, so only a repetition looks, and
    // who would be refused.
    if (runs.fetch_add(1, Ordering::Relaxed) > 0 || is_full)
        && let Some(request_id) = &new.request_id
        && let Some(operation) = row::by_request(store, tx, &new.user, request_id).await?
    {
        return Ok(Some(CreatedOperation { operation, deduplicated: true }));
    }
    if is_full {
        return Ok(None);
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
    Ok(Some(CreatedOperation { operation, deduplicated: false }))
}

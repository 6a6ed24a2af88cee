//! Reads operations.

use asyncflow_core::id::OperationId;

use super::row::{self, Operation};
use crate::{Store, error::StoreError};

impl Store {
    /// The operation with this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_operation(&self, id: OperationId) -> Result<Option<Operation>, StoreError> {
        row::find(self, self.reader(), id).await
    }

    /// At most `limit` operations, newest first, from the one before `before`; of one user, or of
    /// all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_operations(
        &self,
        user: Option<&str>,
        before: Option<OperationId>,
        limit: u32,
    ) -> Result<Vec<Operation>, StoreError> {
        row::list(self, user, before, limit).await
    }
}

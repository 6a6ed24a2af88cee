//! Ends operations before they have gone through.

use asyncflow_core::{id::OperationId, operation::OperationState};

use super::{
    row::{self, Operation},
    take::OperationLease,
};
use crate::{Store, backend::now_sql, error::StoreError, wake::OPERATIONS};

impl Store {
    /// Stops an operation; one that is over is left as it is. What it had changed stays changed,
    /// and from the answer on it changes nothing more. Answers it as it is then; `None` if there
    /// is no such operation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel_operation(&self, id: OperationId) -> Result<Option<Operation>, StoreError> {
        self.end_operation(id, None, OperationState::Cancelled, None).await?;
        row::find(self, self.writer(), id).await
    }

    /// Gives an operation up that cannot go on, while this lease is the one in force.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn fail_operation(
        &self,
        lease: &OperationLease,
        error: &str,
    ) -> Result<(), StoreError> {
        let epoch = Some(lease.epoch);
        self.end_operation(lease.id, epoch, OperationState::Failed, Some(error)).await
    }

    async fn end_operation(
        &self,
        id: OperationId,
        epoch: Option<i64>,
        state: OperationState,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let now = now_sql(self.backend());
        let mut sql = self.sql("UPDATE operations SET revision = revision + 1, state = ");
        sql.bind(state.code()).push(&format!(", update_time_ms = {now}, finish_time_ms = {now}"));
        sql.push(", error = ").bind(error.map(str::to_owned));
        sql.push(" WHERE id = ").bind(id.0);
        sql.push(" AND state = ").bind(OperationState::Running.code());
        if let Some(epoch) = epoch {
            sql.push(" AND epoch = ").bind(epoch);
        }
        self.run_led(sql, None).await.map_err(StoreError::exhausted)?;
        self.wake().ring([OPERATIONS]);
        Ok(())
    }
}

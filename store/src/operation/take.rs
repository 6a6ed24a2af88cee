//! Who carries an operation out: a lease by the database's clock, and an epoch as its fence.

use asyncflow_core::{id::OperationId, operation::OperationState};

use crate::{Store, backend::now_sql, error::StoreError, wake::OPERATIONS};

/// The right to carry an operation out, until somebody else takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationLease {
    pub id: OperationId,
    pub(super) epoch: i64,
}

impl Store {
    /// Takes operations that nobody carries out, or whose holder was not heard of for the time of
    /// its lease: the oldest ones, at most `limit`.
    ///
    /// Cancel safe: what was taken and not answered is free again after `ttl_ms`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_operations(
        &self,
        holder: &str,
        ttl_ms: i64,
        limit: u32,
    ) -> Result<Vec<OperationLease>, StoreError> {
        let (now, running) = (now_sql(self.backend()), OperationState::Running.code());
        let mut sql = self.sql("SELECT id, epoch FROM operations WHERE state = ");
        sql.bind(running).push(&format!(" AND lease_until_ms < {now} ORDER BY id LIMIT "));
        sql.bind(i64::from(limit));
        let mut taken = Vec::new();
        for row in sql.all(self.reader()).await? {
            let (id, epoch): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let mut sql = self.sql("UPDATE operations SET revision = revision + 1, epoch = ");
            sql.bind(epoch + 1).push(", holder = ").bind(holder);
            sql.push(&format!(", lease_until_ms = {now} + ")).bind(ttl_ms);
            sql.push(" WHERE id = ").bind(id).push(" AND epoch = ").bind(epoch);
            sql.push(" AND state = ").bind(running).push(&format!(" AND lease_until_ms < {now}"));
            if self.run_led(sql, None).await.map_err(StoreError::exhausted)? == 1 {
                taken.push(OperationLease { id: OperationId(id), epoch: epoch + 1 });
            }
        }
        Ok(taken)
    }

    /// Gives an operation back, so that nobody waits for the end of the lease.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release_operation(&self, lease: &OperationLease) -> Result<(), StoreError> {
        let mut sql = self.sql("UPDATE operations SET revision = revision + 1, lease_until_ms = 0");
        sql.push(" WHERE id = ").bind(lease.id.0).push(" AND epoch = ").bind(lease.epoch);
        self.run_led(sql, None).await.map_err(StoreError::exhausted)?;
        self.wake().ring([OPERATIONS]);
        Ok(())
    }
}

//! A transaction that reads and does not end: a backup, or a console that somebody forgot.

use asyncflow_core::id::ShardId;
use sea_orm::{DatabaseTransaction, TransactionTrait};

use crate::{Store, error::StoreError};

/// Ends with its value.
pub struct HeldRead(
    #[expect(dead_code, reason = "held so that the transaction stays open")] DatabaseTransaction,
);

impl Store {
    /// Reads a shard's table of tasks in a transaction that stays open.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold_read(&self, shard: &ShardId) -> Result<HeldRead, StoreError> {
        let tx = self.reader().begin().await?;
        self.sql(&format!("SELECT id FROM {} LIMIT 1", shard.task_table())).all(&tx).await?;
        Ok(HeldRead(tx))
    }
}

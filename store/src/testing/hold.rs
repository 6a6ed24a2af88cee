//! A transaction that reads and does not end: a backup, or a console that somebody forgot.

use asyncflow_core::id::ShardId;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};

use crate::{Store, backend::Backend, error::StoreError};

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
        // Others than our own sessions have no such limit.
        match self.backend() {
            Backend::Postgres => {
                tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
            }
            Backend::Mysql => {
                let for_ever = "SET SESSION lock_wait_timeout = 5 \
                                /*M!100300 , idle_transaction_timeout = 0 */";
                tx.execute_unprepared(for_ever).await?;
            }
            Backend::Sqlite => {}
        }
        self.sql(&format!("SELECT id FROM {} LIMIT 1", shard.task_table())).all(&tx).await?;
        Ok(HeldRead(tx))
    }
}

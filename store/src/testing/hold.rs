//! A transaction that reads and does not end: a backup, or a console that somebody forgot.

use asyncflow_core::id::ShardId;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    IsolationLevel, TransactionTrait,
};

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

/// A snapshot of the whole database. Ends with its value.
pub struct HeldSnapshot {
    #[expect(dead_code, reason = "held so that the transaction stays open")]
    transaction: DatabaseTransaction,
    #[expect(dead_code, reason = "a session of its own, which ends after its transaction")]
    session: DatabaseConnection,
}

/// Reads in a transaction that sees the database as it is now for as long as it is held, as a dump
/// of it does. The server must keep every version of every row that changes meanwhile. Sessions of
/// a store read what was committed last and hold nothing up in this way; this one is none of them.
///
/// # Errors
/// `Options` on SQLite, where one writer and many readers share a file; those of the database.
pub async fn hold_snapshot(store: &Store) -> Result<HeldSnapshot, StoreError> {
    if store.backend() == Backend::Sqlite {
        return Err(StoreError::Options("a snapshot is not held on SQLite".to_owned()));
    }
    let mut options = ConnectOptions::new(store.url());
    options.max_connections(1).sqlx_logging(false);
    let session = Database::connect(options).await?;
    let transaction = session.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await?;
    match store.backend() {
        Backend::Postgres => {
            let for_ever = "SET LOCAL idle_in_transaction_session_timeout = 0";
            transaction.execute_unprepared(for_ever).await?;
        }
        Backend::Mysql => {
            let repeatable = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
            transaction.execute_unprepared(repeatable).await?;
            transaction.execute_unprepared("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        }
        Backend::Sqlite => {}
    }
    // PostgreSQL takes its snapshot at the first read.
    store.sql("SELECT COUNT(*) FROM task_types").one(&transaction).await?;
    Ok(HeldSnapshot { transaction, session })
}

//! How PostgreSQL stores a shard's table of tasks: to be set, and to be looked at.

use asyncflow_core::id::ShardId;
use sea_orm::ConnectionTrait;

use crate::{Store, error::StoreError};

/// What became of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PostgresStorage {
    /// With indexes and TOAST.
    pub bytes: i64,
    pub dead_rows: i64,
    pub updates: i64,
    /// Updates that left the indexes alone.
    pub hot_updates: i64,
    pub autovacuums: i64,
    /// Bytes that the whole server has ever written into its log.
    pub wal_bytes: i64,
}

/// Sets storage parameters, e.g. `fillfactor = 90`, of a shard's table of tasks.
///
/// # Errors
/// Those of the database.
pub async fn set_postgres_storage(
    store: &Store,
    shard: &ShardId,
    parameters: &str,
) -> Result<(), StoreError> {
    let table = shard.task_table();
    let sql = format!("ALTER TABLE {table} RESET (fillfactor, autovacuum_vacuum_scale_factor)");
    store.writer().execute_unprepared(&sql).await?;
    if !parameters.is_empty() {
        let sql = format!("ALTER TABLE {table} SET ({parameters})");
        store.writer().execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// Makes the server look every second which tables want a vacuum, instead of every minute: minutes
/// of load then show what hours would.
///
/// # Errors
/// Those of the database.
pub async fn hurry_autovacuum(store: &Store) -> Result<(), StoreError> {
    store.writer().execute_unprepared("ALTER SYSTEM SET autovacuum_naptime = 1").await?;
    store.writer().execute_unprepared("SELECT pg_reload_conf()").await?;
    Ok(())
}

/// Ends the file of the log that is written to: what comes next needs one more file.
///
/// # Errors
/// Those of the database.
pub async fn switch_log(store: &Store) -> Result<(), StoreError> {
    store.writer().execute_unprepared("SELECT pg_switch_wal()").await?;
    Ok(())
}

/// Does at once what the server would do in the next minutes for what was written so far: vacuums
/// every table and writes all dirty pages.
///
/// # Errors
/// Those of the database.
pub async fn vacuum_and_checkpoint(store: &Store) -> Result<(), StoreError> {
    store.writer().execute_unprepared("VACUUM").await?;
    store.writer().execute_unprepared("CHECKPOINT").await?;
    Ok(())
}

/// Looks at a shard's table of tasks.
///
/// # Errors
/// Those of the database.
pub async fn postgres_storage(
    store: &Store,
    shard: &ShardId,
) -> Result<PostgresStorage, StoreError> {
    let mut sql = store.sql(
        "SELECT pg_total_relation_size(relid), n_dead_tup, n_tup_upd, n_tup_hot_upd, \
         autovacuum_count, CAST(pg_current_wal_lsn() - '0/0' AS BIGINT) \
         FROM pg_stat_user_tables WHERE relname = ",
    );
    let row = sql.bind(shard.task_table()).one(store.reader()).await?;
    let row = row.ok_or(StoreError::NotFound)?;
    Ok(PostgresStorage {
        bytes: row.try_get_by_index(0)?,
        dead_rows: row.try_get_by_index(1)?,
        updates: row.try_get_by_index(2)?,
        hot_updates: row.try_get_by_index(3)?,
        autovacuums: row.try_get_by_index(4)?,
        wal_bytes: row.try_get_by_index(5)?,
    })
}

//! Which brokers live: each raises a counter of its own, and whoever looks twice sees who did.

use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::{now_sql, or_ignore},
    error::StoreError,
};

/// Rows of brokers that were not heard of for so long are removed by the next one that lives, so
/// that a table without rows means that none ever counted.
const FORGET_AFTER_MS: i64 = 24 * 3_600_000;
/// Brokers that are looked at.
const BROKERS_MAX: i64 = 10_000;

impl Store {
    /// Notes that a broker lives. `broker_id` is one for each process, at most 64 bytes, as
    /// [`asyncflow_core::lease::broker_id`] makes it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn beat_broker(&self, broker_id: &str) -> Result<(), StoreError> {
        self.transact(broker_id, |store, tx, id| Box::pin(beat_once(store, tx, id))).await
    }

    /// How often each broker has said that it lives, by their ids. Nothing means that none ever
    /// did.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn broker_beats(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let mut sql = self.sql("SELECT broker_id, beats FROM brokers ORDER BY broker_id LIMIT ");
        let rows = sql.bind(BROKERS_MAX).all(self.reader()).await?;
        let read =
            |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        rows.iter().map(read).collect()
    }
}

async fn beat_once(store: &Store, tx: &DatabaseTransaction, id: &str) -> Result<(), StoreError> {
    if raise(store, tx, id).await? {
        return Ok(());
    }
    let now = now_sql(store.backend());
    let mut sql = store.sql("INSERT INTO brokers (broker_id, beats, seen_time_ms) VALUES (");
    sql.bind(id).push(&format!(", 0, {now})"));
    sql.push(&or_ignore(store.backend(), "broker_id", "broker_id")).run(tx).await?;
    raise(store, tx, id).await?;
    let mut sql = store.sql(&format!("DELETE FROM brokers WHERE seen_time_ms < {now} - "));
    sql.bind(FORGET_AFTER_MS).run(tx).await?;
    Ok(())
}

/// Whether there is such a row.
async fn raise(store: &Store, tx: &DatabaseTransaction, id: &str) -> Result<bool, StoreError> {
    let now = now_sql(store.backend());
    let mut sql =
        store.sql(&format!("UPDATE brokers SET beats = beats + 1, seen_time_ms = {now} WHERE "));
    Ok(sql.push("broker_id = ").bind(id).run(tx).await? > 0)
}

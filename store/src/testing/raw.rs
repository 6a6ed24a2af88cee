//! What the database alone does with rows of a task's size: the limit that creates are compared
//! with.

use std::sync::atomic::{AtomicI64, Ordering};

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::{
    Store, StoreError,
    backend::Backend,
    sql::{InsertInto, insert_rows},
};

static LAST_ID: AtomicI64 = AtomicI64::new(0);

/// Makes the table of [`insert_raw`]; it has one index besides its key.
///
/// # Errors
/// Those of the database.
pub async fn make_raw(store: &Store) -> Result<(), StoreError> {
    let (bytes, suffix) = match store.backend() {
        Backend::Sqlite => ("BLOB", ""),
        Backend::Mysql => ("LONGBLOB", " ENGINE=InnoDB"),
        Backend::Postgres => ("BYTEA", ""),
    };
    let table = format!(
        "CREATE TABLE raw_rows (id BIGINT PRIMARY KEY, state SMALLINT NOT NULL, \
         order_time BIGINT NOT NULL, payload {bytes} NOT NULL){suffix}"
    );
    let index = "CREATE INDEX raw_rows_state ON raw_rows (state, order_time, id)";
    for statement in [table.as_str(), index] {
        store.writer().execute_unprepared(statement).await?;
    }
    Ok(())
}

/// Inserts so many rows with a payload each, in a transaction of their own.
///
/// # Errors
/// Those of the database.
pub async fn insert_raw(
    store: &Store,
    count: usize,
    payload_bytes: usize,
) -> Result<(), StoreError> {
    let rows = (count, vec![b'x'; payload_bytes]);
    store.transact(&rows, |store, tx, rows| Box::pin(insert_once(store, tx, rows))).await
}

async fn insert_once(
    store: &Store,
    tx: &DatabaseTransaction,
    (count, payload): &(usize, Vec<u8>),
) -> Result<(), StoreError> {
    let count = i64::try_from(*count).unwrap_or(i64::MAX);
    let last = LAST_ID.fetch_add(count, Ordering::Relaxed);
    let rows = (last + 1..=last + count)
        .map(|id| vec![id.into(), 9_i16.into(), id.into(), payload.clone().into()]);
    let columns = ["id", "state", "order_time", "payload"];
    insert_rows(store, tx, InsertInto { table: "raw_rows", columns: &columns, or: "" }, rows).await
}

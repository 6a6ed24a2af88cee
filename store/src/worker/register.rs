//! Registers a worker: a new session for a new incarnation.

use asyncflow_core::host::OrderName;
use sea_orm::DatabaseTransaction;

use super::{COLUMNS, READ_COLUMNS, Registered, Registration, encode_info, read};
use crate::{
    Store,
    backend::{for_update, now_sql},
    error::StoreError,
    host::forget,
};

impl Store {
    /// Registers a worker under its id. The same incarnation keeps its session, so that a lost
    /// answer is simply repeated; another one gets a new session. Both are told of the former one,
    /// because nobody knows how far the broker came that the first call went to.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn register_worker(
        &self,
        registration: &Registration,
    ) -> Result<Registered, StoreError> {
        self.transact(registration, |store, tx, registration| {
            Box::pin(register_once(store, tx, registration))
        })
        .await
    }
}

async fn register_once(
    store: &Store,
    tx: &DatabaseTransaction,
    registration: &Registration,
) -> Result<Registered, StoreError> {
    let mut sql = store.sql(&format!("SELECT {READ_COLUMNS} FROM workers WHERE worker_id = "));
    sql.bind(registration.worker_id.as_str()).push(for_update(store.backend()));
    let former = sql.one(tx).await?.as_ref().map(read).transpose()?;
    let (session_id, former_session_id) = match &former {
        Some(row) if row.registration.incarnation == registration.incarnation => {
            (row.session_id, row.former_session_id)
        }
        row => (rand::random_range(1..i64::MAX), row.as_ref().map(|row| row.session_id)),
    };
    let now = now_sql(store.backend());
    let info = encode_info(registration, former_session_id)?;
    let mut sql = if former.is_some() {
        let mut sql = store.sql(&format!(
            "UPDATE workers SET register_time_ms = {now}, seen_time_ms = {now}, draining = 0, \
             running = 0, session_id = "
        ));
        sql.bind(session_id).push(", incarnation = ").bind(registration.incarnation.as_str());
        sql.push(", info = ").bind(info);
        sql.push(" WHERE worker_id = ").bind(registration.worker_id.as_str());
        sql
    } else {
        let mut sql = store.sql(&format!("INSERT INTO workers ({COLUMNS}) VALUES ("));
        sql.bind(registration.worker_id.as_str()).push(", ").bind(session_id).push(", ");
        sql.bind(registration.incarnation.as_str()).push(", ").bind(info);
        sql.push(&format!(", {now}, {now}, 0, 0)"));
        sql
    };
    sql.push("").run(tx).await?;
    if former.is_none_or(|row| row.session_id != session_id) {
        forget(store, tx, &registration.worker_id, &OrderName::Detach).await?;
    }
    Ok(Registered { session_id, former_session_id })
}

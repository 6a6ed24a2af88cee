//! Ends a session.

use asyncflow_core::host::OrderName;

use crate::{Store, backend::for_update, error::StoreError, host::forget};

impl Store {
    /// Ends a session and forgets its worker, unless that has registered anew since. That it was to
    /// drain is forgotten with it. Give back what it holds with [`Store::release_session`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_session(&self, session_id: i64) -> Result<(), StoreError> {
        self.transact(&session_id, |store, tx, session_id| {
            Box::pin(async move {
                let mut sql = store.sql("SELECT worker_id FROM workers WHERE session_id = ");
                sql.bind(*session_id).push(for_update(store.backend()));
                if let Some(row) = sql.one(tx).await? {
                    let worker_id: String = row.try_get_by_index(0)?;
                    forget(store, tx, &worker_id, &OrderName::Drain).await?;
                }
                let mut sql = store.sql("DELETE FROM workers WHERE session_id = ");
                sql.bind(*session_id).run(tx).await
            })
        })
        .await?;
        Ok(())
    }
}

//! Ends a session.

use crate::{
    Store,
    backend::for_update,
    error::StoreError,
    host::{close_drained, left},
};

impl Store {
    /// Ends a session and forgets its worker, unless that has registered anew since. A host that
    /// was to drain is cordoned from then on. Give back what it holds with
    /// [`Store::release_session`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_session(&self, session_id: i64) -> Result<(), StoreError> {
        let now_ms = self.now_ms().await?;
        self.transact(&(session_id, now_ms), |store, tx, (session_id, now_ms)| {
            Box::pin(async move {
                let mut sql = store.sql("SELECT worker_id FROM workers WHERE session_id = ");
                sql.bind(*session_id).push(for_update(store.backend()));
                if let Some(row) = sql.one(tx).await? {
                    let worker_id: String = row.try_get_by_index(0)?;
                    close_drained(store, tx, &worker_id, *now_ms).await?;
                    left(store, tx, &[worker_id]).await?;
                }
                let mut sql = store.sql("DELETE FROM workers WHERE session_id = ");
                sql.bind(*session_id).run(tx).await
            })
        })
        .await?;
        Ok(())
    }
}

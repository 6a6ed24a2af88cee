//! Ends a session.

use crate::{Store, error::StoreError};

impl Store {
    /// Ends a session and forgets its worker, unless that has registered anew since. Give back what
    /// it holds with [`Store::release_session`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_session(&self, session_id: i64) -> Result<(), StoreError> {
        let mut sql = self.sql("DELETE FROM workers WHERE session_id = ");
        sql.bind(session_id);
        self.transact(&sql, |_, tx, sql| Box::pin(async move { sql.clone().run(tx).await }))
            .await?;
        Ok(())
    }
}

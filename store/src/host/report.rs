//! Keeps what a worker tells of its host.

use crate::{Store, backend::now_sql, error::StoreError};

impl Store {
    /// Replaces what the worker of a session has told of its host, and how many tasks it runs.
    /// `false` when the session is not in force (any more): then nothing is kept.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn report_host(
        &self,
        session_id: i64,
        report: &[u8],
        running: i32,
    ) -> Result<bool, StoreError> {
        let now = now_sql(self.backend());
        let mut sql = self.sql(&format!("UPDATE workers SET report_time_ms = {now}, report = "));
        sql.bind(report.to_vec()).push(", running = ").bind(running);
        sql.push(" WHERE session_id = ").bind(session_id);
        let met = self
            .transact(&sql, |_, tx, sql| Box::pin(async move { sql.clone().run(tx).await }))
            .await?;
        Ok(met > 0)
    }
}

//! Reads workers.

use super::{READ_COLUMNS, WorkerRow, read};
use crate::{Store, error::StoreError};

impl Store {
    /// The worker whose session this is; `None` when it is not in force (any more).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_session(&self, session_id: i64) -> Result<Option<WorkerRow>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {READ_COLUMNS} FROM workers WHERE session_id = "));
        sql.bind(session_id);
        sql.one(self.reader()).await?.as_ref().map(read).transpose()
    }

    /// At most `limit` workers in order of their ids, from the one behind `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_workers(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WorkerRow>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {READ_COLUMNS} FROM workers WHERE worker_id > "));
        sql.bind(after.unwrap_or_default());
        sql.push(" ORDER BY worker_id LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }
}

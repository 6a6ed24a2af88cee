//! Forgets operations.

use crate::{Store, error::StoreError, leader::LeaderFence};

impl Store {
    /// Deletes operations that ended before `before_ms`, oldest first, about `limit`; returns how
    /// many. With a fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_operations(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        let time = "finish_time_ms";
        // Those that go on have no such time.
        let mut sql = self.sql(&format!("SELECT {time} FROM operations WHERE {time} > 0 AND "));
        sql.push(time).push(" < ").bind(before_ms).push(&format!(" ORDER BY {time} LIMIT "));
        let rows = sql.bind(i64::from(limit)).all(self.reader()).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let border_ms: i64 = last.try_get_by_index(0)?;
        let mut sql = self.sql(&format!("DELETE FROM operations WHERE {time} > 0 AND {time} <= "));
        sql.bind(border_ms);
        self.run_led(sql, fence).await.map_err(StoreError::exhausted)
    }
}

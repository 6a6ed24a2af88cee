//! Notes that workers were heard of; forgets those that were not.

use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::{for_update, now_sql},
    error::StoreError,
    host::left,
    leader::{LeaderFence, check_fence},
    worker::Touch,
};

/// Workers that are forgotten in one transaction.
const STALE_MAX: i64 = 500;

impl Store {
    /// Notes the heartbeats of several workers. A session that is not in force any more is passed
    /// over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn touch_workers(&self, touches: &[Touch]) -> Result<(), StoreError> {
        if touches.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<&Touch> = touches.iter().collect();
        sorted.sort_by_key(|touch| touch.session_id);
        let now = now_sql(self.backend());
        let mut sql = self.sql(&format!("UPDATE workers SET seen_time_ms = {now}, draining = "));
        sql.push("CASE session_id");
        for touch in &sorted {
            sql.push(" WHEN ").bind(touch.session_id);
            sql.push(" THEN ").bind(i16::from(touch.draining));
        }
        sql.push(" ELSE draining END, running = CASE WHEN report_time_ms >= register_time_ms ");
        // What was reported is younger, and the heartbeat may have waited for its batch.
        sql.push("THEN running ELSE CASE session_id");
        for touch in &sorted {
            sql.push(" WHEN ").bind(touch.session_id).push(" THEN ").bind(touch.running);
        }
        let sessions: Vec<i64> = sorted.iter().map(|touch| touch.session_id).collect();
        sql.push(" ELSE running END END WHERE ").is_in("session_id", &sessions);
        self.transact(&sql, |_, tx, sql| Box::pin(async move { sql.clone().run(tx).await }))
            .await?;
        Ok(())
    }

    /// Forgets workers that were not heard of since `before_ms`, at most 500 of them; returns how
    /// many. Their tasks are the reaper's, and their orders stay for a while. With a fence, only
    /// while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn delete_stale_workers(
        &self,
        before_ms: i64,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.transact(&(before_ms, fence), |store, tx, (before_ms, fence)| {
            Box::pin(delete_stale(store, tx, *before_ms, *fence))
        })
        .await
    }
}

async fn delete_stale(
    store: &Store,
    tx: &DatabaseTransaction,
    before_ms: i64,
    fence: Option<&LeaderFence>,
) -> Result<u64, StoreError> {
    if let Some(fence) = fence {
        check_fence(store, tx, fence).await?;
    }
    let mut sql = store.sql("SELECT worker_id FROM workers WHERE seen_time_ms < ");
    sql.bind(before_ms).push(" ORDER BY worker_id LIMIT ").bind(STALE_MAX);
    let rows = sql.push(for_update(store.backend())).all(tx).await?;
    let stale = rows.iter().map(|row| row.try_get_by_index(0));
    let stale: Vec<String> = stale.collect::<Result<_, _>>()?;
    if stale.is_empty() {
        return Ok(0);
    }
    left(store, tx, &stale).await?;
    let mut sql = store.sql("DELETE FROM workers WHERE ");
    sql.is_in("worker_id", &stale).run(tx).await
}

//! What becomes of a host's orders when its worker leaves, and when it does not come back.

use asyncflow_core::host::OrderName;
use sea_orm::DatabaseTransaction;

use super::orders::{forget, insert};
use crate::{Store, backend::now_sql, error::StoreError, leader::LeaderFence};

/// Workers per UPDATE.
const WORKERS_MAX: usize = 512;

impl Store {
    /// Deletes the orders of hosts that nobody has heard of since `before_ms`, and that were given
    /// before; returns how many. With a fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_orders(
        &self,
        before_ms: i64,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        let mut sql = self.sql("DELETE FROM host_orders WHERE create_time_ms < ");
        sql.bind(before_ms).push(
            " AND NOT EXISTS (SELECT 1 FROM workers \
             WHERE workers.worker_id = host_orders.worker_id)",
        );
        self.run_led(sql, fence).await
    }
}

/// Closes a host that was to drain for its next worker, too: somebody has taken it out of use.
pub(crate) async fn close_drained(
    store: &Store,
    tx: &DatabaseTransaction,
    worker_id: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    if forget(store, tx, worker_id, &OrderName::Drain).await? == 0 {
        return Ok(());
    }
    let cordon = OrderName::Cordon.to_string();
    let row = vec![worker_id.into(), cordon.into(), Vec::<u8>::new().into(), now_ms.into()];
    insert(store, tx, &[row]).await
}

/// Counts the age of the orders of these workers from now on, for [`Store::purge_orders`]: their
/// rows, which tell when they were heard of, are about to go.
pub(crate) async fn left(
    store: &Store,
    tx: &DatabaseTransaction,
    worker_ids: &[String],
) -> Result<(), StoreError> {
    for chunk in worker_ids.chunks(WORKERS_MAX) {
        let now = now_sql(store.backend());
        let mut sql = store.sql(&format!("UPDATE host_orders SET create_time_ms = {now} WHERE "));
        sql.is_in("worker_id", chunk).run(tx).await?;
    }
    Ok(())
}

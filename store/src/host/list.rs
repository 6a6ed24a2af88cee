//! Reads hosts.

use sea_orm::QueryResult;

use super::HostRow;
use crate::{
    Store,
    error::StoreError,
    worker::{READ_COLUMNS, READ_COUNT, read},
};

impl Store {
    /// The host of this worker; `None` when it is not registered.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_host(&self, worker_id: &str) -> Result<Option<HostRow>, StoreError> {
        let mut sql = self.sql(&format!("{} worker_id = ", select()));
        sql.bind(worker_id);
        sql.one(self.reader()).await?.as_ref().map(host).transpose()
    }

    /// At most `limit` hosts in order of their workers' ids, from the one behind `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_hosts(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<HostRow>, StoreError> {
        let mut sql = self.sql(&format!("{} worker_id > ", select()));
        sql.bind(after.unwrap_or_default());
        sql.push(" ORDER BY worker_id LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(host).collect()
    }

    /// At most `limit` workers' ids in the same order: also those of workers that are not
    /// registered and whose hosts an order closes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_host_ids(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let after = after.unwrap_or_default();
        let mut sql = self.sql("SELECT worker_id FROM workers WHERE worker_id > ");
        sql.bind(after).push(" UNION SELECT worker_id FROM host_orders WHERE worker_id > ");
        sql.bind(after).push(" AND name IN ('cordon', 'drain') ORDER BY worker_id LIMIT ");
        sql.bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
    }
}

fn select() -> String {
    format!("SELECT {READ_COLUMNS}, report, report_time_ms FROM workers WHERE")
}

fn host(row: &QueryResult) -> Result<HostRow, StoreError> {
    let report_time_ms: i64 = row.try_get_by_index(READ_COUNT + 1)?;
    Ok(HostRow {
        worker: read(row)?,
        report: row.try_get_by_index(READ_COUNT)?,
        report_time_ms: Some(report_time_ms).filter(|time_ms| *time_ms > 0),
    })
}

//! Gives orders, reads them, and takes them back. Whoever listens for the host is rung.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::host::OrderName;
use sea_orm::{DatabaseTransaction, Value};

use super::HostOrder;
use crate::{
    Store,
    backend::{for_update, or_replace},
    error::StoreError,
    sql::{InsertInto, insert_rows},
    wake::host_topic,
};

/// Workers per SELECT … IN.
const WORKERS_MAX: usize = 512;

impl Store {
    /// Gives orders, each to a worker; one of the same name is replaced. All or none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_orders(
        &self,
        orders: &[(String, OrderName, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let now_ms = self.now_ms().await?;
        // In the order of the key, as everybody does it.
        let rows: BTreeMap<(&str, String), &[u8]> = orders
            .iter()
            .map(|(worker, name, body)| ((worker.as_str(), name.to_string()), body.as_slice()))
            .collect();
        let rows: Vec<Vec<Value>> = rows
            .into_iter()
            .map(|((worker, name), body)| {
                vec![worker.into(), name.into(), body.to_vec().into(), now_ms.into()]
            })
            .collect();
        self.transact(&rows, |store, tx, rows| Box::pin(insert(store, tx, rows))).await?;
        self.ring_hosts(orders.iter().map(|(worker, ..)| worker.as_str()));
        Ok(())
    }

    /// Replaces an order by what `change` makes of its body; `None` = there is none. Of two who do
    /// that at once the second sees what the first has made. `change` may be called again.
    ///
    /// # Errors
    /// `NotFound` when the worker is not registered, and those of the database.
    pub async fn change_order(
        &self,
        worker_id: &str,
        name: &OrderName,
        change: impl Fn(Option<&[u8]>) -> Vec<u8> + Send + Sync,
    ) -> Result<(), StoreError> {
        let changing = Changing {
            worker_id,
            name: name.to_string(),
            now_ms: self.now_ms().await?,
            change: &change,
        };
        self.transact(&changing, |store, tx, one| Box::pin(replace(store, tx, one))).await?;
        self.ring_hosts([worker_id]);
        Ok(())
    }

    /// Takes orders back; those that are not there are passed over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete_orders(
        &self,
        worker_id: &str,
        names: &[OrderName],
    ) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = names.iter().map(OrderName::to_string).collect();
        let mut sql = self.sql("DELETE FROM host_orders WHERE worker_id = ");
        sql.bind(worker_id).push(" AND ").is_in("name", &names);
        self.transact(&sql, |_, tx, sql| Box::pin(async move { sql.clone().run(tx).await }))
            .await?;
        self.ring_hosts([worker_id]);
        Ok(())
    }

    /// The orders of some workers, by worker and name; of a worker without any there is nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_orders(
        &self,
        worker_ids: &[String],
    ) -> Result<BTreeMap<String, Vec<HostOrder>>, StoreError> {
        let mut found: BTreeMap<String, Vec<HostOrder>> = BTreeMap::new();
        for chunk in worker_ids.chunks(WORKERS_MAX) {
            let mut sql =
                self.sql("SELECT worker_id, name, body, create_time_ms FROM host_orders WHERE ");
            sql.is_in("worker_id", chunk).push(" ORDER BY worker_id, name");
            for row in sql.all(self.reader()).await? {
                let name: String = row.try_get_by_index(1)?;
                // One of a later version is that version's to carry out.
                let Some(name) = OrderName::parse(&name) else { continue };
                let order = HostOrder {
                    name,
                    body: row.try_get_by_index(2)?,
                    create_time_ms: row.try_get_by_index(3)?,
                };
                found.entry(row.try_get_by_index(0)?).or_default().push(order);
            }
        }
        Ok(found)
    }

    fn ring_hosts<'a>(&self, worker_ids: impl IntoIterator<Item = &'a str>) {
        let topics: BTreeSet<String> = worker_ids.into_iter().map(host_topic).collect();
        self.wake().ring(topics);
    }
}

/// An order that is being changed.
struct Changing<'a> {
    worker_id: &'a str,
    name: String,
    now_ms: i64,
    change: &'a (dyn Fn(Option<&[u8]>) -> Vec<u8> + Send + Sync),
}

async fn replace(
    store: &Store,
    tx: &DatabaseTransaction,
    Changing { worker_id, name, now_ms, change }: &Changing<'_>,
) -> Result<(), StoreError> {
    // An order that is not there cannot be locked, its worker can.
    let mut sql = store.sql("SELECT session_id FROM workers WHERE worker_id = ");
    sql.bind(*worker_id).push(for_update(store.backend()));
    sql.one(tx).await?.ok_or(StoreError::NotFound)?;
    let mut sql = store.sql("SELECT body FROM host_orders WHERE worker_id = ");
    sql.bind(*worker_id).push(" AND name = ").bind(name.as_str());
    sql.push(for_update(store.backend()));
    let before: Option<Vec<u8>> =
        sql.one(tx).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    let body = change(before.as_deref());
    let row = vec![(*worker_id).into(), name.as_str().into(), body.into(), (*now_ms).into()];
    insert(store, tx, &[row]).await
}

pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    rows: &[Vec<Value>],
) -> Result<(), StoreError> {
    let or = or_replace(store.backend(), "worker_id, name", &["body", "create_time_ms"]);
    let columns = &["worker_id", "name", "body", "create_time_ms"];
    let into = InsertInto { table: "host_orders", columns, or: &or };
    insert_rows(store, tx, into, rows.iter().cloned()).await
}

/// Forgets an order within the transaction of something larger; tells how many that were.
pub(crate) async fn forget(
    store: &Store,
    tx: &DatabaseTransaction,
    worker_id: &str,
    name: &OrderName,
) -> Result<u64, StoreError> {
    let mut sql = store.sql("DELETE FROM host_orders WHERE worker_id = ");
    sql.bind(worker_id).push(" AND name = ").bind(name.to_string());
    sql.run(tx).await
}

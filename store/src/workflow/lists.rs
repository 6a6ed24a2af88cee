//! The list of a map, as it was when the node's turn came. A long one is kept, so that each portion
//! of its items costs no more than itself.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::id::WorkflowId;
use sea_orm::{DatabaseTransaction, Value};
use serde_json::Value as Json;

use super::row::or_replace;
use crate::{
    Store,
    error::StoreError,
    sql::{InsertInto, insert_rows},
};

/// A list of so many items is evaluated again, rather than kept.
const SHORT_MAX: usize = 100;
/// Items per row.
const CHUNK: usize = 500;
/// Rows per statement.
const ROWS_MAX: usize = 200;

/// The items of a map, all of them or those that were asked for.
pub(super) enum Items {
    All(Vec<Json>),
    These(BTreeMap<u32, Json>),
}

impl Items {
    pub fn get(&self, item: u32) -> Option<&Json> {
        match self {
            Self::All(items) => items.get(item as usize),
            Self::These(items) => items.get(&item),
        }
    }
}

/// Keeps the list of a node whose turn has come; what it had before is forgotten.
pub(super) async fn keep(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
    list: &[Json],
) -> Result<(), StoreError> {
    if list.len() <= SHORT_MAX {
        return forget(store, tx, id, node).await;
    }
    let chunk = |(at, items): (usize, &[Json])| -> Result<Vec<Value>, StoreError> {
        let items = serde_json::to_vec(items).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        Ok(vec![id.0.into(), (node as i32).into(), (at as i32).into(), items.into()])
    };
    let rows = list.chunks(CHUNK).enumerate().map(chunk).collect::<Result<Vec<_>, _>>()?;
    let columns = ["workflow_key", "node", "chunk", "items"];
    let or = or_replace(store.backend(), "workflow_key, node, chunk", &["items"]);
    let into = InsertInto { table: "workflow_lists", columns: &columns, or: &or };
    insert_rows(store, tx, into, rows).await
}

/// Forgets the list of a node.
pub(super) async fn forget(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
) -> Result<(), StoreError> {
    let mut sql = store.sql("DELETE FROM workflow_lists WHERE workflow_key = ");
    sql.bind(id.0).push(" AND node = ").bind(node as i32).run(tx).await?;
    Ok(())
}

/// These items of a list that was kept; `None` if it was not.
pub(super) async fn read(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
    wanted: &BTreeSet<u32>,
) -> Result<Option<BTreeMap<u32, Json>>, StoreError> {
    let chunks: BTreeSet<i32> =
        wanted.iter().map(|item| item / CHUNK as u32).map(|c| c as i32).collect();
    let chunks: Vec<i32> = chunks.into_iter().collect();
    let mut found = BTreeMap::new();
    for some in chunks.chunks(ROWS_MAX) {
        let mut sql = store.sql("SELECT chunk, items FROM workflow_lists WHERE workflow_key = ");
        sql.bind(id.0).push(" AND node = ").bind(node as i32).push(" AND ");
        for row in sql.is_in("chunk", some).all(tx).await? {
            let first = row.try_get_by_index::<i32>(0)?.unsigned_abs() * CHUNK as u32;
            let items: Vec<u8> = row.try_get_by_index(1)?;
            let items: Vec<Json> = serde_json::from_slice(&items)
                .map_err(|error| StoreError::Corrupt(format!("a list of {id}: {error}")))?;
            let numbered = (first..).zip(items);
            found.extend(numbered.filter(|(item, _)| wanted.contains(item)));
        }
    }
    Ok((!found.is_empty()).then_some(found))
}

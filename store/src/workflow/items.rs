//! Which task, or which workflow, an item of a node is.

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    task::Member,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use super::row::or_replace;
use crate::{
    Store,
    error::StoreError,
    sql::{InsertInto, insert_rows},
};

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Task(TaskId),
    Workflow(WorkflowId),
}

/// Notes what items are, when they are started; those that were something else before are not that
/// any more.
pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    items: &[(Member, Is)],
) -> Result<(), StoreError> {
    let rows = items.iter().map(|(member, is)| {
        let (task_id, child) = match is {
            Is::Task(id) => (id.to_string(), 0),
            Is::Workflow(id) => (String::new(), id.0),
        };
        vec![member.workflow.0.into(), member.place().into(), task_id.into(), child.into()]
    });
    let columns = ["workflow_key", "place", "task_id", "child_key"];
    let or = or_replace(store.backend(), "workflow_key, place", &["task_id", "child_key"]);
    let into = InsertInto { table: "workflow_items", columns: &columns, or: &or };
    insert_rows(store, tx, into, rows.collect::<Vec<_>>()).await
}

/// Forgets what the items of a node are.
pub(super) async fn forget(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
) -> Result<(), StoreError> {
    let (from, to) = places(id, Some(node));
    let mut sql = store.sql("DELETE FROM workflow_items WHERE workflow_key = ");
    sql.bind(id.0).push(" AND place >= ").bind(from).push(" AND place < ").bind(to);
    sql.run(tx).await?;
    Ok(())
}

/// The places of a node's items, or of all: from the first to the second, without that.
fn places(id: WorkflowId, node: Option<u32>) -> (i64, i64) {
    let first = |node: u32| Member { workflow: id, node, item: 0 }.place();
    let behind = node.and_then(|node| node.checked_add(1));
    (node.map_or(0, first), behind.map_or(i64::MAX, first))
}

/// The items of a node that were started, in their order; of all nodes without one. At most
/// `limit`, from the place behind `after`.
pub(super) async fn list(
    store: &Store,
    db: &impl ConnectionTrait,
    id: WorkflowId,
    node: Option<u32>,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<(Member, Is)>, StoreError> {
    let (first, to) = places(id, node);
    let from = first.max(after.map_or(0, |after| after + 1));
    let mut sql = store.sql("SELECT place, task_id, child_key FROM workflow_items ");
    sql.push("WHERE workflow_key = ").bind(id.0).push(" AND place >= ").bind(from);
    sql.push(" AND place < ").bind(to).push(" ORDER BY place LIMIT ").bind(i64::from(limit));
    sql.all(db).await?.iter().map(|row| read(row, id)).collect()
}

fn read(row: &QueryResult, id: WorkflowId) -> Result<(Member, Is), StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{what} of {id}"));
    let member = Member::at(id.0, row.try_get_by_index(0)?).ok_or_else(|| corrupt("an item"))?;
    let child: i64 = row.try_get_by_index(2)?;
    if child != 0 {
        return Ok((member, Is::Workflow(WorkflowId(child))));
    }
    let task_id: String = row.try_get_by_index(1)?;
    let task_id = task_id.parse().map_err(|_| corrupt("a task id"))?;
    Ok((member, Is::Task(task_id)))
}

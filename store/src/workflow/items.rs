//! Which task, or which workflow, an item of a node is.

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    task::Member,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

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

/// Notes what items are, when they are started.
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
    let into = InsertInto { table: "workflow_items", columns: &columns, or: "" };
    insert_rows(store, tx, into, rows.collect::<Vec<_>>()).await
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
    let first = |node: u32| Member { workflow: id, node, item: 0 }.place();
    let from = node.map_or(0, first).max(after.map_or(0, |after| after + 1));
    let to = node.and_then(|node| node.checked_add(1)).map_or(i64::MAX, first);
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

//! The rows of workflows and of their nodes.

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    task::{Content, Labels, Member},
    workflow::progress::{NodeProgress, NodeState, Progress, Tally, WorkflowState},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use crate::{
    Store,
    backend::{Backend, for_update},
    error::StoreError,
    sql::{InsertInto, insert_rows},
    task::{decode_labels, encode_labels, time_ms},
};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;

/// A workflow's row without its definition and input.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    pub id: WorkflowId,
    pub user: String,
    pub name: String,
    /// The W3C trace id of the call that created it; 32 hexadecimal digits, or empty.
    pub trace_id: String,
    pub progress: Progress,
    /// +1 at every write of the row.
    pub revision: i64,
    /// How many nodes it has.
    pub nodes: u32,
    /// The item of another workflow that it is.
    pub parent: Option<Member>,
    /// The task that has made it.
    pub parent_task: Option<TaskId>,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    pub finish_time_ms: Option<i64>,
    /// Why it failed or was cancelled, for people.
    pub message: Option<String>,
    pub labels: Labels,
}

const COLUMNS: &str = "id, user_name, name, trace_id, state, revision, nodes, \
     succeeded, failed, cancelled, skipped, parent_key, parent_place, parent_task, \
     create_time_ms, update_time_ms, finish_time_ms, message, labels";

/// How many columns that are.
const COLUMNS_LEN: usize = 19;

/// The key of the parent where that is a task, which keeps it out of the lists of workflows.
pub(super) const OF_TASK: i64 = -1;

fn read(row: &QueryResult) -> Result<Workflow, StoreError> {
    let (state, parent_key): (i16, i64) = (row.try_get_by_index(4)?, row.try_get_by_index(11)?);
    let state = WorkflowState::from_code(state)
        .ok_or_else(|| StoreError::Corrupt(format!("the workflow state {state}")))?;
    Ok(Workflow {
        id: WorkflowId(row.try_get_by_index(0)?),
        user: row.try_get_by_index(1)?,
        name: row.try_get_by_index(2)?,
        trace_id: row.try_get_by_index(3)?,
        progress: Progress { state, nodes: read_tally(row, 7)? },
        revision: row.try_get_by_index(5)?,
        nodes: count(row, 6)?,
        parent: Member::at(parent_key.max(0), row.try_get_by_index(12)?),
        parent_task: read_parent_task(row.try_get_by_index(13)?)?,
        create_time_ms: row.try_get_by_index(14)?,
        update_time_ms: row.try_get_by_index(15)?,
        finish_time_ms: time_ms(row.try_get_by_index(16)?),
        message: row.try_get_by_index(17)?,
        labels: decode_labels(&row.try_get_by_index::<String>(18)?)?,
    })
}

fn read_parent_task(text: String) -> Result<Option<TaskId>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| StoreError::Corrupt(format!("the task id {text:?}")))
}

fn count(row: &QueryResult, at: usize) -> Result<u32, StoreError> {
    let count: i32 = row.try_get_by_index(at)?;
    u32::try_from(count).map_err(|_| StoreError::Corrupt(format!("the count {count}")))
}

fn read_tally(row: &QueryResult, at: usize) -> Result<Tally, StoreError> {
    Ok(Tally {
        succeeded: count(row, at)?,
        failed: count(row, at + 1)?,
        cancelled: count(row, at + 2)?,
        skipped: count(row, at + 3)?,
    })
}

fn tally(tally: &Tally) -> [Value; 4] {
    [tally.succeeded, tally.failed, tally.cancelled, tally.skipped].map(stored)
}

fn stored(count: u32) -> Value {
    i32::try_from(count).unwrap_or(i32::MAX).into()
}

/// How many nodes workflows have; of those that are there, in the order of their ids.
pub(super) async fn sizes(
    store: &Store,
    db: &impl ConnectionTrait,
    ids: &[WorkflowId],
) -> Result<Vec<(WorkflowId, u32)>, StoreError> {
    let keys: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut sizes = Vec::with_capacity(keys.len());
    for some in keys.chunks(KEYS_MAX) {
        let mut sql = store.sql("SELECT id, nodes FROM workflows WHERE ");
        for row in sql.is_in("id", some).push(" ORDER BY id").all(db).await? {
            sizes.push((WorkflowId(row.try_get_by_index(0)?), count(&row, 1)?));
        }
    }
    Ok(sizes)
}

/// What a workflow's row holds besides [`Workflow`].
pub(super) struct Rest<'a> {
    pub request_id: Option<&'a str>,
    pub digest: i64,
    pub definition: Vec<u8>,
    pub input: &'a Content,
}

/// Inserts a workflow's row.
///
/// # Errors
/// `Duplicate` when the user has used the request id.
pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    workflow: &Workflow,
    rest: Rest<'_>,
) -> Result<(), StoreError> {
    let mut values: Vec<Value> = vec![
        workflow.id.0.into(),
        workflow.user.as_str().into(),
        workflow.name.as_str().into(),
        workflow.trace_id.as_str().into(),
        workflow.progress.state.code().into(),
        workflow.revision.into(),
        stored(workflow.nodes),
    ];
    values.extend(tally(&workflow.progress.nodes));
    let of_task = if workflow.parent_task.is_some() { OF_TASK } else { 0 };
    values.extend::<[Value; 13]>([
        workflow.parent.map_or(of_task, |parent| parent.workflow.0).into(),
        workflow.parent.map_or(0, |parent| parent.place()).into(),
        workflow.parent_task.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        workflow.create_time_ms.into(),
        workflow.update_time_ms.into(),
        workflow.finish_time_ms.unwrap_or(0).into(),
        workflow.message.clone().into(),
        encode_labels(&workflow.labels)?.into(),
        rest.request_id.into(),
        rest.digest.into(),
        rest.definition.into(),
        rest.input.data.to_vec().into(),
        rest.input.content_type.as_str().into(),
    ]);
    let mut sql = store.sql(&format!(
        "INSERT INTO workflows ({COLUMNS}, request_id, digest, definition, input, input_type) \
         VALUES "
    ));
    sql.tuple(values).run(tx).await?;
    Ok(())
}

/// The workflow, locked until the end of the transaction; `None` if there is none.
pub(crate) async fn lock(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
) -> Result<Option<Workflow>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM workflows WHERE id = "));
    sql.bind(id.0);
    if !store.is_off("workflow.locks") {
        sql.push(for_update(store.backend()));
    }
    sql.one(tx).await?.as_ref().map(read).transpose()
}

/// The workflow that this one is, or is within; `None` if there is none.
pub(crate) async fn find_root(
    store: &Store,
    db: &impl ConnectionTrait,
    mut id: WorkflowId,
) -> Result<Option<WorkflowId>, StoreError> {
    loop {
        let Some(workflow) = find(store, db, id).await? else { return Ok(None) };
        match workflow.parent {
            Some(parent) => id = parent.workflow,
            None => return Ok(Some(id)),
        }
    }
}

/// The same, locked until the end of the transaction.
pub(crate) async fn lock_root(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
) -> Result<WorkflowId, StoreError> {
    let root = find_root(store, tx, id).await?;
    let root = root.ok_or_else(|| StoreError::Corrupt(format!("{id} is gone")))?;
    lock(store, tx, root).await?;
    Ok(root)
}

/// The workflow with this id.
pub(super) async fn find(
    store: &Store,
    db: &impl ConnectionTrait,
    id: WorkflowId,
) -> Result<Option<Workflow>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM workflows WHERE id = "));
    sql.bind(id.0).one(db).await?.as_ref().map(read).transpose()
}

/// Workflows that are no items of others, newest first.
pub(super) async fn list(
    store: &Store,
    user: Option<&str>,
    before: Option<WorkflowId>,
    limit: u32,
) -> Result<Vec<Workflow>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM workflows WHERE parent_key = 0"));
    if let Some(user) = user {
        sql.push(" AND user_name = ").bind(user);
    }
    if let Some(before) = before {
        sql.push(" AND id < ").bind(before.0);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    sql.all(store.reader()).await?.iter().map(read).collect()
}

/// Workflows that a task has made, newest first.
pub(super) async fn of_task(
    store: &Store,
    parent: &TaskId,
    before: Option<WorkflowId>,
    limit: u32,
) -> Result<Vec<Workflow>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM workflows WHERE parent_task = "));
    sql.bind(parent.to_string());
    if let Some(before) = before {
        sql.push(" AND id < ").bind(before.0);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    sql.all(store.reader()).await?.iter().map(read).collect()
}

/// The workflow that a request has made, and the digest of that request.
pub(super) async fn by_request(
    store: &Store,
    db: &impl ConnectionTrait,
    user: &str,
    request_id: &str,
) -> Result<Option<(Workflow, i64)>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS}, digest FROM workflows WHERE "));
    sql.push("user_name = ").bind(user).push(" AND request_id = ").bind(request_id);
    let Some(row) = sql.one(db).await? else { return Ok(None) };
    Ok(Some((read(&row)?, row.try_get_by_index(COLUMNS_LEN)?)))
}

/// Writes how far a locked workflow is.
pub(super) async fn update(
    store: &Store,
    tx: &DatabaseTransaction,
    workflow: &Workflow,
) -> Result<(), StoreError> {
    let nodes = workflow.progress.nodes;
    let mut sql = store.sql("UPDATE workflows SET state = ");
    sql.bind(workflow.progress.state.code()).push(", revision = ").bind(workflow.revision);
    for (name, count) in ["succeeded", "failed", "cancelled", "skipped"].iter().zip(tally(&nodes)) {
        sql.push(&format!(", {name} = ")).bind(count);
    }
    sql.push(", update_time_ms = ").bind(workflow.update_time_ms);
    sql.push(", finish_time_ms = ").bind(workflow.finish_time_ms.unwrap_or(0));
    sql.push(", message = ").bind(workflow.message.clone());
    sql.push(" WHERE id = ").bind(workflow.id.0).run(tx).await?;
    Ok(())
}

const NODE_COLUMNS: [&str; 14] = [
    "workflow_key",
    "node",
    "state",
    "items",
    "started",
    "need_succeeded",
    "need_failed",
    "need_cancelled",
    "need_skipped",
    "succeeded",
    "failed",
    "cancelled",
    "skipped",
    "again",
];

/// The nodes with these numbers; all of them without.
pub(super) async fn nodes(
    store: &Store,
    db: &impl ConnectionTrait,
    id: WorkflowId,
    numbers: Option<&[u32]>,
) -> Result<Vec<(u32, NodeProgress, Option<String>)>, StoreError> {
    let columns = NODE_COLUMNS[1..].join(", ");
    let select = format!("SELECT {columns}, message FROM workflow_nodes WHERE workflow_key = ");
    let mut nodes = Vec::new();
    let Some(numbers) = numbers else {
        let mut sql = store.sql(&select);
        for row in sql.bind(id.0).push(" ORDER BY node").all(db).await? {
            nodes.push(read_node(&row)?);
        }
        return Ok(nodes);
    };
    for chunk in numbers.chunks(KEYS_MAX) {
        let chunk: Vec<Value> = chunk.iter().map(|number| stored(*number)).collect();
        let mut sql = store.sql(&select);
        for row in sql.bind(id.0).push(" AND ").is_in("node", &chunk).all(db).await? {
            nodes.push(read_node(&row)?);
        }
    }
    Ok(nodes)
}

fn read_node(row: &QueryResult) -> Result<(u32, NodeProgress, Option<String>), StoreError> {
    let state: i16 = row.try_get_by_index(1)?;
    let state = NodeState::from_code(state)
        .ok_or_else(|| StoreError::Corrupt(format!("the node state {state}")))?;
    let node = NodeProgress {
        state,
        items: count(row, 2)?,
        started: count(row, 3)?,
        needs: read_tally(row, 4)?,
        ended: read_tally(row, 8)?,
        again: read_again(row.try_get_by_index(12)?)?,
    };
    Ok((count(row, 0)?, node, row.try_get_by_index(13)?))
}

fn read_again(stored: Option<Vec<u8>>) -> Result<Vec<u32>, StoreError> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    serde_json::from_slice(&stored).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn again(items: &[u32]) -> Result<Option<Vec<u8>>, StoreError> {
    let stored = (!items.is_empty()).then(|| serde_json::to_vec(items)).transpose();
    stored.map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Writes nodes, whether they are there or not; their messages stay.
pub(super) async fn put_nodes(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    nodes: &[(u32, NodeProgress)],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(nodes.len());
    for (number, node) in nodes {
        let mut values: Vec<Value> = vec![
            id.0.into(),
            stored(*number),
            node.state.code().into(),
            stored(node.items),
            stored(node.started),
        ];
        values.extend(tally(&node.needs));
        values.extend(tally(&node.ended));
        values.push(again(&node.again)?.into());
        rows.push(values);
    }
    let into = InsertInto {
        table: "workflow_nodes",
        columns: &NODE_COLUMNS,
        or: &or_replace(store.backend(), "workflow_key, node", &NODE_COLUMNS[2..]),
    };
    insert_rows(store, tx, into, rows).await
}

pub(crate) fn or_replace(backend: Backend, key: &str, columns: &[&str]) -> String {
    let set = |new: fn(&str) -> String| {
        let set = columns.iter().map(|name| format!("{name} = {}", new(name)));
        set.collect::<Vec<_>>().join(", ")
    };
    match backend {
        Backend::Mysql => {
            format!(" ON DUPLICATE KEY UPDATE {}", set(|name| format!("VALUES({name})")))
        }
        Backend::Sqlite | Backend::Postgres => {
            let set = set(|name| format!("excluded.{name}"));
            format!(" ON CONFLICT ({key}) DO UPDATE SET {set}")
        }
    }
}

/// Takes back what was said of a workflow's nodes.
pub(super) async fn say_nothing(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
) -> Result<(), StoreError> {
    let mut sql = store.sql("UPDATE workflow_nodes SET message = NULL WHERE workflow_key = ");
    sql.bind(id.0).run(tx).await?;
    Ok(())
}

/// Says why a node, or an item of it, was not run.
pub(super) async fn say(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    node: u32,
    message: &str,
) -> Result<(), StoreError> {
    let mut sql = store.sql("UPDATE workflow_nodes SET message = ");
    sql.bind(message).push(" WHERE workflow_key = ").bind(id.0);
    sql.push(" AND node = ").bind(stored(node)).run(tx).await?;
    Ok(())
}

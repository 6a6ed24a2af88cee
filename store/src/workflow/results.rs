//! Results of what came before, as those who wait for it get them.

use std::collections::{BTreeMap, HashMap};

use asyncflow_core::{
    id::{ShardId, TaskId, WorkflowId},
    task::Content,
    workflow::{content, definition::Kind},
};
use futures::{FutureExt, future::BoxFuture};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value as Json};

use super::{
    items::{self, Is},
    known::flow_of,
};
use crate::{Store, error::StoreError, shard::is_there};

/// Most bytes of the results of one node, or workflow, as they were stored.
const RESULTS_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the results of all nodes that one waits for.
const NEEDS_BYTES_MAX: usize = 4 << 20;
/// Items per look.
const ITEMS_MAX: u32 = 1_000;
/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;

/// What a node, or a workflow, has made.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Of a single task: as it left it.
    Content(Content),
    Json(Json),
    /// It cannot be had, and why.
    Lost(&'static str),
}

const TOO_LARGE: Found = Found::Lost("are too many to be read at once");
const TOO_LARGE_TOGETHER: Found =
    Found::Lost("are, together with others that it waits for, too many to be read at once");
const REMOVED: Found = Found::Lost("were removed before they were needed");

impl Found {
    /// As a value of an expression.
    ///
    /// # Errors
    /// Why it cannot be had: the end of a sentence that begins with "the results of …".
    pub fn json(&self) -> Result<Json, &'static str> {
        match self {
            Self::Content(content) => Ok(content::to_json(content)),
            Self::Json(json) => Ok(json.clone()),
            Self::Lost(why) => Err(why),
        }
    }
}

/// The results of the nodes that one waits for. Those behind the most that is read are lost.
pub(super) async fn of_nodes(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
    nodes: &[u32],
) -> Result<BTreeMap<u32, Found>, StoreError> {
    let (mut all, mut bytes) = (BTreeMap::new(), 0);
    for &node in nodes {
        if bytes > NEEDS_BYTES_MAX {
            all.insert(node, TOO_LARGE_TOGETHER);
            break;
        }
        let found = of_node(store, tx, id, node).await?;
        // The result of a single one is bounded by itself.
        bytes += if nodes.len() > 1 { weight(&found) } else { 0 };
        all.insert(node, found);
    }
    Ok(all)
}

/// The result of a node: that of its task, or those of its items in their order, with `null` for
/// items that have none.
fn of_node<'a>(
    store: &'a Store,
    tx: &'a DatabaseTransaction,
    id: WorkflowId,
    node: u32,
) -> BoxFuture<'a, Result<Found, StoreError>> {
    async move {
        let flow = flow_of(store, tx, id).await?;
        let is_one = matches!(flow.graph.node(node).work.kind, Kind::One(_));
        let (mut all, mut bytes, mut after) = (Vec::new(), 0, None);
        loop {
            let page = items::list(store, tx, id, Some(node), after, ITEMS_MAX).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.place());
            let contents = contents(store, tx, &page).await?;
            for (member, is) in page {
                // An item that was not started has no row.
                all.resize(member.item as usize, Json::Null);
                let found = match is {
                    Is::Task(task) => contents.get(&task).cloned().unwrap_or(REMOVED),
                    Is::Workflow(child) => of_flow(store, tx, child).await?,
                };
                if is_one || matches!(found, Found::Lost(_)) {
                    return Ok(found);
                }
                bytes += weight(&found);
                if bytes > RESULTS_BYTES_MAX {
                    return Ok(TOO_LARGE);
                }
                all.push(found.json().unwrap_or_default());
            }
        }
        Ok(Found::Json(if is_one { Json::Null } else { Json::Array(all) }))
    }
    .boxed()
}

/// The result of a workflow: that of one node, or of all that nobody waits for, by their names.
pub(super) async fn of_flow(
    store: &Store,
    tx: &DatabaseTransaction,
    id: WorkflowId,
) -> Result<Found, StoreError> {
    let flow = flow_of(store, tx, id).await?;
    if let Some(node) = flow.result {
        return of_node(store, tx, id, node).await;
    }
    let (mut fields, mut bytes) = (Map::new(), 0);
    for (at, node) in flow.graph.nodes() {
        if !flow.graph.successors(at).is_empty() {
            continue;
        }
        let found = of_node(store, tx, id, at).await?;
        bytes += weight(&found);
        match found.json() {
            Ok(_) if bytes > RESULTS_BYTES_MAX => return Ok(TOO_LARGE),
            Ok(json) => fields.insert(node.name.clone(), json),
            Err(_) => return Ok(found),
        };
    }
    Ok(Found::Json(Json::Object(fields)))
}

/// Values without text weigh nothing but their own place in the list.
fn weight(found: &Found) -> usize {
    1 + match found {
        Found::Content(content) => content.data.len(),
        Found::Json(Json::Null) | Found::Lost(_) => 0,
        Found::Json(json) => json.to_string().len(),
    }
}

/// What those items that are tasks have made, as far as they are there.
async fn contents(
    store: &Store,
    tx: &DatabaseTransaction,
    items: &[(asyncflow_core::task::Member, Is)],
) -> Result<HashMap<TaskId, Found>, StoreError> {
    let mut by_shard: BTreeMap<&ShardId, Vec<i64>> = BTreeMap::new();
    for (_, is) in items {
        if let Is::Task(id) = is {
            by_shard.entry(&id.shard).or_default().push(id.key);
        }
    }
    let mut contents = HashMap::new();
    for (shard, keys) in by_shard {
        if !is_there(store, tx, shard).await? {
            continue;
        }
        let table = shard.task_table();
        for chunk in keys.chunks(KEYS_MAX) {
            let mut sql = store.sql(&format!("SELECT id, result, result_type FROM {table} WHERE "));
            for row in sql.is_in("id", chunk).all(tx).await? {
                let id = TaskId { shard: shard.clone(), key: row.try_get_by_index(0)? };
                let data: Option<Vec<u8>> = row.try_get_by_index(1)?;
                let found = match (data, row.try_get_by_index::<Option<String>>(2)?) {
                    (Some(data), content_type) => {
                        let content_type = content_type.unwrap_or_default();
                        Found::Content(Content { data: data.into(), content_type })
                    }
                    // Its type is kept when a result expires.
                    (None, Some(_)) => REMOVED,
                    (None, None) => Found::Json(Json::Null),
                };
                contents.insert(id, found);
            }
        }
    }
    Ok(contents)
}

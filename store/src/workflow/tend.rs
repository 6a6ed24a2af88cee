//! What the governor does for workflows.

use asyncflow_core::{
    id::WorkflowId,
    workflow::progress::{NodeState, WorkflowState},
};
use sea_orm::DatabaseTransaction;

use super::follow::Left;
use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

/// A node whose items are being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoppingNode {
    pub workflow: WorkflowId,
    pub node: u32,
}

struct Removal<'a> {
    before_ms: i64,
    limit: u32,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// At most `limit` nodes whose items are being stopped, in their order, from the one behind
    /// `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stopping_nodes(
        &self,
        after: Option<StoppingNode>,
        limit: u32,
    ) -> Result<Vec<StoppingNode>, StoreError> {
        let mut sql = self.sql("SELECT workflow_key, node FROM workflow_nodes WHERE state = ");
        sql.push(&NodeState::Stopping.code().to_string());
        if let Some(StoppingNode { workflow, node }) = after {
            let node = i32::try_from(node).unwrap_or(i32::MAX);
            sql.push(" AND (workflow_key > ").bind(workflow.0);
            sql.push(" OR workflow_key = ").bind(workflow.0);
            sql.push(" AND node > ").bind(node).push(")");
        }
        sql.push(" ORDER BY workflow_key, node LIMIT ").bind(i64::from(limit));
        let read = |row: &sea_orm::QueryResult| {
            let workflow = WorkflowId(row.try_get_by_index(0)?);
            let node: i32 = row.try_get_by_index(1)?;
            Ok(StoppingNode { workflow, node: node.unsigned_abs() })
        };
        sql.all(self.reader()).await?.iter().map(read).collect()
    }

    /// Cancels what still runs of a node that is being stopped: whoever should have done so after
    /// its COMMIT may be gone. Answers how many tasks were made because of it.
    pub async fn stop_again(&self, at: StoppingNode) -> u64 {
        let StoppingNode { workflow, node } = at;
        self.carry_out(vec![Left::Stop { workflow, node }]).await.len() as u64
    }

    /// Deletes workflows that ended before `before_ms`, with those that were their items, oldest
    /// first, at most `limit`; returns how many. Their tasks go when their types say so. With a
    /// fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_workflows(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        let work = Removal { before_ms, limit, fence };
        self.transact(&work, |store, tx, work| Box::pin(remove_once(store, tx, work)))
            .await
            .map_err(StoreError::exhausted)
    }
}

async fn remove_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Removal<'_>,
) -> Result<u64, StoreError> {
    if let Some(fence) = work.fence {
        check_fence(store, tx, fence).await?;
    }
    let mut sql = store.sql("SELECT id FROM workflows WHERE finish_time_ms > 0");
    sql.push(" AND finish_time_ms < ").bind(work.before_ms).push(" AND parent_key = 0");
    sql.push(" ORDER BY finish_time_ms LIMIT ").bind(i64::from(work.limit));
    let mut ids: Vec<i64> = Vec::new();
    for row in sql.all(tx).await? {
        ids.push(row.try_get_by_index(0)?);
    }
    let found = ids.len() as u64;
    while !ids.is_empty() {
        // One that was retried meanwhile is live again, and stays.
        let (succeeded, failed, cancelled) =
            (WorkflowState::Succeeded, WorkflowState::Failed, WorkflowState::Cancelled);
        let states = [succeeded, failed, cancelled].map(WorkflowState::code);
        let mut sql = store.sql("DELETE FROM workflows WHERE ");
        sql.is_in("id", &ids).push(" AND ").is_in("state", &states).run(tx).await?;
        let mut sql = store.sql("SELECT id FROM workflows WHERE ");
        for row in sql.is_in("id", &ids).all(tx).await? {
            let live: i64 = row.try_get_by_index(0)?;
            ids.retain(|id| *id != live);
        }
        if ids.is_empty() {
            break;
        }
        for table in ["workflow_nodes", "workflow_items"] {
            let mut sql = store.sql(&format!("DELETE FROM {table} WHERE "));
            sql.is_in("workflow_key", &ids).run(tx).await?;
        }
        let mut sql = store.sql("SELECT id FROM workflows WHERE ");
        let rows = sql.is_in("parent_key", &ids).all(tx).await?;
        ids = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    }
    Ok(found)
}

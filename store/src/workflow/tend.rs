//! What the governor does for workflows.

use asyncflow_core::{
    id::WorkflowId,
    workflow::progress::{NodeState, WorkflowState},
};
use sea_orm::DatabaseTransaction;

use super::left::Left;
use crate::{
    Store, condition,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

/// A node for which something may be left to be done: its items are being stopped, or some of them
/// were not started and none runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeglectedNode {
    pub workflow: WorkflowId,
    pub node: u32,
    pub is_stopping: bool,
}

/// Rows per statement.
const KEYS_MAX: usize = 512;

struct Removal<'a> {
    before_ms: i64,
    limit: u32,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// At most `limit` nodes of each kind for which something may be left to be done. Most of them
    /// are at work: one that is here twice, some time apart, is not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn neglected_nodes(&self, limit: u32) -> Result<Vec<NeglectedNode>, StoreError> {
        let mut nodes = Vec::new();
        for (state, more) in [
            (NodeState::Stopping, ""),
            (
                NodeState::Running,
                " AND started < items AND started = succeeded + failed + cancelled + skipped",
            ),
        ] {
            let mut sql = self.sql("SELECT workflow_key, node FROM workflow_nodes WHERE state = ");
            sql.bind(state.code()).push(more).push(" ORDER BY workflow_key, node LIMIT ");
            for row in sql.bind(i64::from(limit)).all(self.reader()).await? {
                let workflow = WorkflowId(row.try_get_by_index(0)?);
                let node = row.try_get_by_index::<i32>(1)?.unsigned_abs();
                let is_stopping = state == NodeState::Stopping;
                nodes.push(NeglectedNode { workflow, node, is_stopping });
            }
        }
        Ok(nodes)
    }

    /// Does what is left to be done for nodes: whoever should have done so after its COMMIT may be
    /// gone.
    pub async fn tend(&self, nodes: &[NeglectedNode]) {
        let left = nodes.iter().map(|&NeglectedNode { workflow, node, is_stopping }| {
            if is_stopping { Left::Stop { workflow, node } } else { Left::GoOn { workflow, node } }
        });
        self.carry_out(left.collect()).await;
    }

    /// Takes up those who wait for what has come, where whoever should have done so is gone;
    /// answers how many tasks that changed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tend_waits(&self) -> Result<u64, StoreError> {
        let followed = self.release_left().await?;
        let changed = followed.made.len() as u64;
        Ok(changed + self.carry_out(followed.left).await.len() as u64)
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
    sql.push(" AND finish_time_ms < ").bind(work.before_ms).push(" AND parent_key <= 0");
    sql.push(" ORDER BY finish_time_ms LIMIT ").bind(i64::from(work.limit));
    let mut ids: Vec<i64> = Vec::new();
    for row in sql.all(tx).await? {
        ids.push(row.try_get_by_index(0)?);
    }
    let found = ids.len() as u64;
    while !ids.is_empty() {
        let mut children = Vec::new();
        for some in ids.chunks(KEYS_MAX) {
            children.extend(remove_some(store, tx, some.to_vec()).await?);
        }
        ids = children;
    }
    Ok(found)
}

/// Removes workflows that are over, with what belongs to them; answers those that were their items.
async fn remove_some(
    store: &Store,
    tx: &DatabaseTransaction,
    mut ids: Vec<i64>,
) -> Result<Vec<i64>, StoreError> {
    let over = [WorkflowState::Succeeded, WorkflowState::Failed, WorkflowState::Cancelled];
    let mut sql = store.sql("DELETE FROM workflows WHERE ");
    sql.is_in("id", &ids).push(" AND ").is_in("state", &over.map(WorkflowState::code));
    sql.run(tx).await?;
    // One that was retried meanwhile is live again, and stays.
    let mut sql = store.sql("SELECT id FROM workflows WHERE ");
    for row in sql.is_in("id", &ids).all(tx).await? {
        let live: i64 = row.try_get_by_index(0)?;
        ids.retain(|id| *id != live);
    }
    if ids.is_empty() {
        return Ok(ids);
    }
    for table in ["workflow_nodes", "workflow_items", "workflow_lists"] {
        let mut sql = store.sql(&format!("DELETE FROM {table} WHERE "));
        sql.is_in("workflow_key", &ids).run(tx).await?;
    }
    let names: Vec<String> = ids.iter().map(|id| WorkflowId(*id).to_string()).collect();
    condition::forget_signals(store, tx, &names).await?;
    let mut sql = store.sql("SELECT id FROM workflows WHERE ");
    let rows = sql.is_in("parent_key", &ids).all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

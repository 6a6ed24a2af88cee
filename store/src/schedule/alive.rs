//! Which runs have not ended.

use std::collections::{BTreeMap, HashSet};

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, WorkflowId},
    schedule::action::Run,
    state::TaskState,
    workflow::progress::WorkflowState,
};

use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_epoch},
};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;
/// What is said of a run that is cancelled for the next one.
const CANCEL_MESSAGE: &str = "its schedule fired again";

impl Store {
    /// Those of the runs that have not ended. One that is gone has.
    pub(super) async fn alive(
        &self,
        runs: impl IntoIterator<Item = &Run>,
    ) -> Result<HashSet<Run>, StoreError> {
        let mut tasks: BTreeMap<&ShardId, Vec<i64>> = BTreeMap::new();
        let mut workflows = Vec::new();
        for run in runs {
            match run {
                Run::Task(id) => tasks.entry(&id.shard).or_default().push(id.key),
                Run::Workflow(id) => workflows.push(id.0),
            }
        }
        let mut alive = HashSet::new();
        for (shard, keys) in tasks {
            for some in keys.chunks(KEYS_MAX) {
                match self.live_tasks(shard, some).await {
                    Ok(live) => alive.extend(live),
                    // A shard that was dropped holds nothing that lives.
                    Err(StoreError::NoSuchTable(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for some in workflows.chunks(KEYS_MAX) {
            let mut sql = self.sql("SELECT id, state FROM workflows WHERE ");
            for row in sql.is_in("id", some).all(self.reader()).await? {
                let state = WorkflowState::from_code(row.try_get_by_index(1)?);
                if state.is_some_and(|state| !state.is_terminal()) {
                    alive.insert(Run::Workflow(WorkflowId(row.try_get_by_index(0)?)));
                }
            }
        }
        Ok(alive)
    }

    async fn live_tasks(&self, shard: &ShardId, keys: &[i64]) -> Result<Vec<Run>, StoreError> {
        let mut sql = self.sql(&format!("SELECT id, state FROM {} WHERE ", shard.task_table()));
        let mut live = Vec::new();
        for row in sql.is_in("id", keys).all(self.reader()).await? {
            let state = TaskState::from_code(row.try_get_by_index(1)?);
            if state.is_some_and(|state| !state.is_terminal()) {
                let key = row.try_get_by_index(0)?;
                live.push(Run::Task(TaskId { shard: shard.clone(), key }));
            }
        }
        Ok(live)
    }

    /// Cancels runs; with a fence, only while that leader leads. What has ended meanwhile refuses,
    /// and so much the better.
    pub(super) async fn cancel_runs(
        &self,
        runs: Vec<Run>,
        fence: Option<&LeaderFence>,
    ) -> Result<(), StoreError> {
        if let Some(fence) = fence.filter(|_| !runs.is_empty()) {
            check_epoch(self, self.reader(), fence).await?;
        }
        let mut events = Vec::new();
        for run in runs {
            match run {
                Run::Task(id) => {
                    events.push((id, Event::Cancel { message: CANCEL_MESSAGE.to_owned() }));
                }
                Run::Workflow(id) => {
                    self.cancel_workflow(id).await?;
                }
            }
        }
        for answer in self.apply_led(events, fence).await {
            if let Err(crate::ApplyError::Store(error)) = answer {
                return Err(error);
            }
        }
        Ok(())
    }
}

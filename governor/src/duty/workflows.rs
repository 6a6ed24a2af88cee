//! `workflows`: does for workflows what a broker should have done.
//!
//! When a part of a workflow is given up, the tasks of it that run are cancelled after the COMMIT
//! that gives it up; what is too much for one transaction is started by others; and so are those
//! who wait for the end of a task or for a signal, and what a task has made is cancelled with it. A
//! broker that died in between has not done so.

use super::{Duty, DutyContext};
use crate::config::GovernorConfig;
use asyncflow_core::id::WorkflowId;
use asyncflow_store::{NeglectedNode, StoreError};
use std::{collections::BTreeSet, time::Duration};

/// Nodes that are looked at in one run.
const NODES_MAX: u32 = 1_000;

/// See the module.
pub(crate) struct Workflows {
    interval: Duration,
    /// Those that the run before has seen: a broker had the time from then to now.
    seen: BTreeSet<NeglectedNode>,
    /// Behind which workflow the next look at those that tasks have made begins.
    children_after: Option<WorkflowId>,
    /// The same for tasks that others wait for.
    awaited_after: String,
}

impl Workflows {
    pub fn new(config: &GovernorConfig) -> Self {
        let interval = Duration::from_millis(config.duties.workflows_interval_ms);
        Self { interval, seen: BTreeSet::new(), children_after: None, awaited_after: String::new() }
    }
}

#[async_trait::async_trait]
impl Duty for Workflows {
    fn name(&self) -> &'static str {
        "workflows"
    }

    fn description(&self) -> &'static str {
        "stops and starts what brokers that died have left to be done for workflows"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let nodes = cx.store.neglected_nodes(NODES_MAX).await?;
        let before = std::mem::replace(&mut self.seen, nodes.into_iter().collect());
        let again: Vec<NeglectedNode> = self.seen.intersection(&before).copied().collect();
        cx.store.tend(&again).await;
        let released = cx.store.tend_waits().await?;
        self.children_after = cx.store.tend_children(self.children_after, NODES_MAX).await?;
        let (found, next) = cx.store.tend_lost_waits(&self.awaited_after, NODES_MAX).await?;
        self.awaited_after = next.unwrap_or_default();
        Ok(again.len() as u64 + released + found)
    }
}

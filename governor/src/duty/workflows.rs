//! `workflows`: stops what a broker should have stopped.
//!
//! When a part of a workflow is given up, the tasks of it that run are cancelled after the COMMIT
//! that gives it up. A broker that died in between has not done so.

use super::{Duty, DutyContext};
use crate::config::GovernorConfig;
use asyncflow_store::{StoppingNode, StoreError};
use std::{collections::BTreeSet, time::Duration};

/// Nodes that are looked at in one run.
const NODES_MAX: u32 = 1_000;

/// See the module.
pub(crate) struct Workflows {
    interval: Duration,
    /// Those that the run before has seen: a broker had the time from then to now.
    seen: BTreeSet<StoppingNode>,
}

impl Workflows {
    pub fn new(config: &GovernorConfig) -> Self {
        let interval = Duration::from_millis(config.duties.workflows_interval_ms);
        Self { interval, seen: BTreeSet::new() }
    }
}

#[async_trait::async_trait]
impl Duty for Workflows {
    fn name(&self) -> &'static str {
        "workflows"
    }

    fn description(&self) -> &'static str {
        "cancels the tasks of given up parts of workflows that their broker did not cancel"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let nodes = cx.store.stopping_nodes(None, NODES_MAX).await?;
        let before = std::mem::replace(&mut self.seen, nodes.into_iter().collect());
        let mut stopped = 0;
        for at in self.seen.intersection(&before) {
            stopped += cx.store.stop_again(*at).await;
        }
        Ok(stopped)
    }
}

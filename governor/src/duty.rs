//! What the governor does while it leads: one file per duty.

pub(crate) mod drain;
pub(crate) mod drop;
mod every_type;
pub(crate) mod promote;
pub(crate) mod reap;
pub(crate) mod reconcile;
pub(crate) mod results;
pub(crate) mod retention;
pub(crate) mod roll;
pub(crate) mod schedules;
pub(crate) mod speculate;
pub(crate) mod workflows;

use crate::{clock::Clock, config::GovernorConfig, outage::Outages};
use asyncflow_store::{LeaderFence, Store, StoreError};
use std::time::Duration;

/// What a run of a duty may use.
pub(crate) struct DutyContext {
    pub store: Store,
    /// The term under which this run writes.
    pub fence: LeaderFence,
    pub clock: Clock,
    pub outages: Outages,
}

/// Something that is done again and again, by the leader only.
///
/// A run may be dropped at any await, when the lead is lost or the process ends: what it has not
/// done is done by the next run, here or elsewhere. So every run begins by looking, and works in
/// bounded transactions.
#[async_trait::async_trait]
pub(crate) trait Duty: Send {
    /// How operators call it, e.g. `reap`.
    fn name(&self) -> &'static str;

    /// What it is for, in a sentence.
    fn description(&self) -> &'static str;

    /// How often it runs, before jitter.
    fn interval(&self) -> Duration;

    /// Whether its first run is at the beginning and not an interval later: it finishes what a
    /// leader before has left half done.
    fn begins_at_once(&self) -> bool {
        false
    }

    /// How long after the last run began the next one is due, if that is sooner than an interval.
    fn due_after(&self) -> Option<Duration> {
        None
    }

    /// Does it once and says how many rows it changed.
    ///
    /// # Errors
    /// What the database said; what was done before stays done.
    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError>;
}

/// Every duty, in the order in which they are shown. A new duty is added here.
pub(crate) fn all(config: &GovernorConfig) -> Vec<Box<dyn Duty>> {
    vec![
        Box::new(reap::Reap::new(config)),
        Box::new(promote::Promote::new(config)),
        Box::new(retention::Retention::new(config)),
        Box::new(results::Results::new(config)),
        Box::new(roll::Roll::new(config)),
        Box::new(drain::Drain::new(config)),
        Box::new(drop::Drop::new(config)),
        Box::new(reconcile::Reconcile::new(config)),
        Box::new(workflows::Workflows::new(config)),
        Box::new(schedules::Schedules::new(config)),
        Box::new(speculate::Speculate::new(config)),
    ]
}

//! `schedules`: makes what schedules make, when they are due.
//!
//! It wakes up when the next one is due, and once an interval for those that were created or
//! changed meanwhile, and for fire times that wait for the end of the run before them.

use super::{Duty, DutyContext};
use crate::config::GovernorConfig;
use asyncflow_store::{QueuedPlace, StoreError};
use std::time::Duration;

/// Transactions of one run; what is left is done by the next.
const ROUNDS_MAX: usize = 1_000;
/// Schedules that are looked at together.
const SCHEDULES_MAX: u32 = 500;

/// See the module.
pub(crate) struct Schedules {
    interval: Duration,
    /// When the next one is due, counted from the beginning of the last run.
    next: Option<Duration>,
}

impl Schedules {
    pub fn new(config: &GovernorConfig) -> Self {
        let interval = Duration::from_millis(config.duties.schedules_interval_ms);
        Self { interval, next: None }
    }

    async fn fire(&self, cx: &DutyContext) -> Result<u64, StoreError> {
        let (store, fence) = (&cx.store, Some(&cx.fence));
        let mut fires = 0;
        for _ in 0..ROUNDS_MAX {
            // By the clock of the database, asked each time: a sample could be from before a jump.
            let now_ms = store.look_at_clock().await?;
            let fired = store.fire_due(now_ms, SCHEDULES_MAX, fence).await?;
            fires += fired.fires;
            if !fired.more {
                break;
            }
        }
        let mut after = Some(QueuedPlace::default());
        for _ in 0..ROUNDS_MAX {
            let Some(place) = after else { break };
            let now_ms = store.look_at_clock().await?;
            let (fired, next) = store.fire_queued(now_ms, place, SCHEDULES_MAX, fence).await?;
            fires += fired.fires;
            after = next;
        }
        Ok(fires)
    }
}

#[async_trait::async_trait]
impl Duty for Schedules {
    fn name(&self) -> &'static str {
        "schedules"
    }

    fn description(&self) -> &'static str {
        "makes the tasks and workflows of schedules that are due"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn begins_at_once(&self) -> bool {
        true
    }

    fn due_after(&self) -> Option<Duration> {
        self.next
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        self.next = None;
        let began = cx.clock.elapsed();
        let fires = self.fire(cx).await?;
        if let Some(due_ms) = cx.store.next_schedule_ms().await? {
            let left_ms = due_ms.saturating_sub(cx.store.look_at_clock().await?).max(1);
            let spent = cx.clock.elapsed().saturating_sub(began);
            self.next = Some(spent + Duration::from_millis(left_ms.unsigned_abs()));
        }
        Ok(fires)
    }
}

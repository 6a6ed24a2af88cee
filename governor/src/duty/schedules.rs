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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::Bed;
    use asyncflow_core::{
        create::NewTask,
        id::{ScheduleId, TypeName},
        schedule::{
            action::Action,
            spec::{Overlap, Spec, Timing},
        },
    };
    use asyncflow_store::NewSchedule;

    /// A schedule that has one fire time, so long after now.
    async fn once(bed: &Bed, after_ms: i64) -> ScheduleId {
        let name = TypeName::new("tick").unwrap();
        bed.store.ensure_type(&name).await.unwrap();
        let task = NewTask::new(name, "ana");
        let now_ms = bed.store.now_ms().await.unwrap();
        let new = NewSchedule {
            user: "ana".to_owned(),
            name: String::new(),
            spec: Spec {
                timing: Timing::Once { at_ms: now_ms + after_ms },
                start_ms: None,
                end_ms: None,
                jitter_ms: 0,
                overlap: Overlap::Skip,
                catch_up_ms: 3_600_000,
            },
            action: Action::Task(Box::new(task)),
            source: Vec::new(),
            request_id: None,
            create_time_ms: now_ms,
        };
        bed.store.create_schedule(&new).await.unwrap().schedule.id
    }

    #[tokio::test]
    async fn what_is_due_fires_and_the_next_one_is_waited_for() {
        for bed in Bed::everywhere().await {
            let (lead, mut schedules) = (bed.lead("g1").await, Schedules::new(&bed.config()));
            assert_eq!(bed.run(&mut schedules, &lead).await.unwrap(), 0);
            assert_eq!(schedules.due_after(), None, "there is none");
            let (soon, _) = (once(&bed, 30).await, once(&bed, 3_600_000).await);
            let mut fired = bed.run(&mut schedules, &lead).await.unwrap();
            while fired == 0 {
                // The time is the database's to wait for.
                tokio::task::yield_now().await;
                fired = bed.run(&mut schedules, &lead).await.unwrap();
            }
            assert_eq!(fired, 1);
            let standing = bed.store.get_schedule(soon).await.unwrap().unwrap().standing;
            assert_eq!(standing.fired, 1);
            let left = schedules.due_after().expect("the other one is to come").as_secs();
            assert!((3_500..=3_600).contains(&left), "{left} s");
        }
    }

    #[tokio::test]
    async fn an_older_term_fires_nothing() {
        let bed = Bed::sqlite().await;
        let old = bed.lead("g1").await;
        once(&bed, 1).await;
        bed.lead("g2").await;
        let mut schedules = Schedules::new(&bed.config());
        let refused = loop {
            match bed.run(&mut schedules, &old).await {
                Ok(0) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    }
}

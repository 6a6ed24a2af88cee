//! `promote`: moves tasks into the queue that are due and that their broker left behind.
//!
//! Brokers promote what they know of themselves, at the moment it is due. This is the safety net
//! for tasks of a broker that died.

use super::{Duty, DutyContext, every_type::all_types};
use crate::config::GovernorConfig;
use asyncflow_core::id::TypeName;
use asyncflow_store::StoreError;
use std::time::Duration;

/// See the module.
pub(crate) struct Promote {
    interval: Duration,
    batch_rows_max: u32,
    after_ms: i64,
}

impl Promote {
    pub fn new(config: &GovernorConfig) -> Self {
        Self {
            interval: Duration::from_millis(config.duties.promote_interval_ms),
            batch_rows_max: config.duties.batch_rows_max,
            after_ms: i64::try_from(config.duties.promote_after_ms).unwrap_or(i64::MAX),
        }
    }

    async fn promote_type(&self, cx: &DutyContext, name: &TypeName) -> Result<u64, StoreError> {
        let mut promoted = 0;
        // Each round takes the oldest, so it ends when nothing is left behind any more.
        while self.is_left_behind(cx, name).await? {
            let tasks = cx.store.promote_left_behind(name, self.batch_rows_max, &cx.fence).await?;
            if tasks.is_empty() {
                break;
            }
            promoted += tasks.len() as u64;
        }
        Ok(promoted)
    }

    async fn is_left_behind(&self, cx: &DutyContext, name: &TypeName) -> Result<bool, StoreError> {
        let Some(due_ms) = cx.store.next_due_ms(name).await? else { return Ok(false) };
        Ok(due_ms.saturating_add(self.after_ms) <= cx.store.now_ms().await?)
    }
}

#[async_trait::async_trait]
impl Duty for Promote {
    fn name(&self) -> &'static str {
        "promote"
    }

    fn description(&self) -> &'static str {
        "queues scheduled tasks that are due and that their broker left behind"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let (mut promoted, mut failed) = (0, None);
        for task_type in all_types(&cx.store).await? {
            match self.promote_type(cx, &task_type.name).await {
                Ok(tasks) => promoted += tasks,
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NotLeader)) => {
                    return Err(error);
                }
                // One type that cannot be read must not keep the others from it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(promoted), Err)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::{Bed, LONG_MS};
    use asyncflow_core::{
        event::{Event, RetryHint, Settle},
        reason::FailureReason,
        state::TaskState,
    };

    /// A task whose retry is due at once.
    async fn due_task(bed: &Bed, task_type: &str) -> asyncflow_core::id::TaskId {
        let id = bed.new_task(task_type, None).await;
        let fence = bed.start(&id, LONG_MS).await;
        let (reason, hint) = (FailureReason::Error, RetryHint::ByPolicy);
        let settle = Settle::Fail { reason, message: "no".to_owned(), hint };
        bed.apply(&id, Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None })
            .await;
        id
    }

    #[tokio::test]
    async fn what_is_due_is_queued_and_what_is_not_is_left() {
        for bed in Bed::everywhere().await {
            let (lead, mut promote) = (bed.lead("g1").await, Promote::new(&bed.config()));
            let (due, other) = (due_task(&bed, "train").await, due_task(&bed, "zip").await);
            let in_an_hour = bed.store.now_ms().await.unwrap() + 3_600_000;
            let later = bed.new_task("train", Some(in_an_hour)).await;
            assert_eq!(bed.task(&later).await.unwrap().state, TaskState::Scheduled);
            let mut promoted = 0;
            // The back-off is the database's to wait for.
            while promoted < 2 {
                promoted += bed.run(&mut promote, &lead).await.unwrap();
                tokio::task::yield_now().await;
            }
            for id in [due, other] {
                assert_eq!(bed.task(&id).await.unwrap().state, TaskState::Pending);
            }
            assert_eq!(bed.task(&later).await.unwrap().state, TaskState::Scheduled);
        }
    }

    #[tokio::test]
    async fn an_older_term_promotes_nothing() {
        let bed = Bed::sqlite().await;
        let old = bed.lead("g1").await;
        due_task(&bed, "train").await;
        bed.lead("g2").await;
        let mut promote = Promote::new(&bed.config());
        let refused = loop {
            match bed.run(&mut promote, &old).await {
                Ok(0) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    }
}

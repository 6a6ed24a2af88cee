//! `drain`: finds closed shards in which nothing is left to do, and drained ones in which there is
//! something again.

use super::{Duty, DutyContext};
use crate::config::GovernorConfig;
use asyncflow_store::StoreError;
use std::time::Duration;

/// See the module.
pub(crate) struct Drain {
    interval: Duration,
}

impl Drain {
    pub fn new(config: &GovernorConfig) -> Self {
        Self { interval: Duration::from_millis(config.duties.drain_interval_ms) }
    }
}

#[async_trait::async_trait]
impl Duty for Drain {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn description(&self) -> &'static str {
        "finds closed shards whose tasks have all ended, and looks again at those it found"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let looked = cx.store.drain_shards(None, &cx.fence).await?;
        for shard in &looked.drained {
            let number = shard.number;
            tracing::info!(task_type = %shard.task_type, number, "all tasks of a shard have ended");
            // It is seldom written to any more: fewer rows for whoever counts.
            cx.store.fold_counts(shard, &cx.fence).await?;
        }
        for shard in &looked.reopened {
            let number = shard.number;
            tracing::info!(task_type = %shard.task_type, number, "a drained shard has work again");
        }
        let count = (looked.drained.len() + looked.reopened.len()) as u64;
        looked.failed.map_or(Ok(count), Err)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::Bed;
    use asyncflow_core::{id::TypeName, shard::ShardState};

    #[tokio::test]
    async fn a_closed_shard_is_drained_when_its_last_task_has_ended() {
        for bed in Bed::everywhere().await {
            let (lead, mut drain) = (bed.lead("g1").await, Drain::new(&bed.config()));
            let (first, last) =
                (bed.new_task("train", None).await, bed.new_task("train", None).await);
            bed.complete(&first).await;
            bed.roll("train", &lead).await;
            assert_eq!(bed.run(&mut drain, &lead).await.unwrap(), 0);
            bed.complete(&last).await;
            assert_eq!(bed.run(&mut drain, &lead).await.unwrap(), 1);
            let name = TypeName::new("train").unwrap();
            let shards = bed.store.list_shards(Some(&name)).await.unwrap();
            let states: Vec<_> = shards.iter().map(|shard| shard.state).collect();
            assert_eq!(states, [ShardState::Drained, ShardState::Open]);
            assert!(shards[0].drain_time_ms.is_some());
            assert_eq!(bed.run(&mut drain, &lead).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn an_older_term_drains_nothing() {
        let bed = Bed::sqlite().await;
        let (old, mut drain) = (bed.lead("g1").await, Drain::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        bed.complete(&id).await;
        bed.roll("train", &old).await;
        bed.lead("g2").await;
        let refused = bed.run(&mut drain, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    }
}

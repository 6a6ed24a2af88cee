//! `drop`: drops the shards whose last task is past its type's retention, archived first when the
//! type says so, and finishes the drops that a dead governor began.

use super::{Duty, DutyContext, every_type::all_types};
use crate::{
    archive::{Archiver, ArchivingError, archived},
    config::GovernorConfig,
};
use asyncflow_core::{
    id::{ShardId, TypeName},
    shard::{Shard, ShardState},
    task_type::TaskType,
};
use asyncflow_store::{Archived, DropOutcome, DropTerms, StoreError};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// See the module.
pub(crate) struct Drop {
    interval: Duration,
    archiver: Archiver,
    /// Shards of which people were told that they could not be dropped.
    told: HashSet<ShardId>,
}

impl Drop {
    pub fn new(config: &GovernorConfig) -> Self {
        let interval = Duration::from_millis(config.duties.drop_interval_ms);
        Self { interval, archiver: Archiver::new(&config.archive), told: HashSet::new() }
    }

    /// Drops a shard if it may go; says how many rows went.
    async fn look(
        &mut self,
        cx: &DutyContext,
        task_type: &TaskType,
        shard: &Shard,
    ) -> Result<u64, StoreError> {
        let now_ms = cx.store.now_ms().await?;
        let mut archived = None;
        if shard.state == ShardState::Drained {
            if !may_drop(cx, task_type, shard, now_ms).await? {
                return Ok(0);
            }
            if task_type.archive {
                archived = self.archive(cx, &shard.id).await?;
                if archived.is_none() {
                    return Ok(0);
                }
            }
        }
        // Without a retention everything is kept: a drop by hand that was begun is undone.
        let before_ms = task_type.expire_before_ms(now_ms).unwrap_or(i64::MIN);
        let terms = DropTerms { before_ms, archived };
        let outcome = cx.store.drop_shard(&shard.id, terms, &cx.fence).await?;
        Ok(self.tell(&shard.id, outcome))
    }

    /// How far a shard is in the archive now; `None` when it was not archived, of which people are
    /// told once.
    async fn archive(
        &mut self,
        cx: &DutyContext,
        id: &ShardId,
    ) -> Result<Option<Archived>, StoreError> {
        let error = match self.archiver.archive(&cx.store, id, &cx.fence).await {
            Ok(manifest) => return Ok(Some(archived(&manifest))),
            Err(ArchivingError::Store(error)) if !matches!(error, StoreError::Conflict { .. }) => {
                return Err(error);
            }
            Err(error) => error,
        };
        let task_type = id.task_type.to_string();
        metrics::counter!("asyncflow_archive_errors_total", "task_type" => task_type).increment(1);
        if self.told.insert(id.clone()) {
            tracing::warn!(task_type = %id.task_type, number = id.number, %error,
                "a shard is kept, because it cannot be archived");
        }
        Ok(None)
    }

    /// Tells people what became of it, once of what is only tried again; says how many rows went.
    fn tell(&mut self, shard: &ShardId, outcome: DropOutcome) -> u64 {
        let (task_type, number) = (&shard.task_type, shard.number);
        match outcome {
            DropOutcome::Dropped { rows } => {
                self.told.remove(shard);
                tracing::info!(%task_type, number, rows, "dropped a shard");
                return u64::try_from(rows).unwrap_or_default();
            }
            _ if !self.told.insert(shard.clone()) => {}
            DropOutcome::Busy => {
                tracing::info!(%task_type, number, "a shard is in use; dropped when it is not");
            }
            DropOutcome::Kept { live } => {
                tracing::warn!(%task_type, number, live, "a shard is kept: it holds more than \
                    its counts say, or a task was retried");
            }
            DropOutcome::NotDrained => {
                tracing::debug!(%task_type, number, "a shard is not drained any more");
            }
        }
        0
    }
}

/// Whether the last task of a drained shard is past its retention.
async fn may_drop(
    cx: &DutyContext,
    task_type: &TaskType,
    shard: &Shard,
    now_ms: i64,
) -> Result<bool, StoreError> {
    if task_type.expire_before_ms(now_ms).is_none() {
        return Ok(false);
    }
    let check = cx.store.drop_check(&shard.id, i64::MAX).await?;
    Ok(task_type.may_drop(check.state, check.last_finish_ms, now_ms))
}

#[async_trait::async_trait]
impl Duty for Drop {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn description(&self) -> &'static str {
        "drops shards whose last task is past its type's retention"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn begins_at_once(&self) -> bool {
        true
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let types = all_types(&cx.store).await?;
        let types: HashMap<&TypeName, &TaskType> = types.iter().map(|t| (&t.name, t)).collect();
        let mut shards = cx.store.list_shards(None).await?;
        shards.retain(|shard| matches!(shard.state, ShardState::Drained | ShardState::Dropping));
        self.told.retain(|told| shards.iter().any(|shard| shard.id == *told));
        let (mut dropped, mut failed) = (0, None);
        for shard in &shards {
            let Some(task_type) = types.get(&shard.id.task_type) else { continue };
            match self.look(cx, task_type, shard).await {
                Ok(rows) => dropped += rows,
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NotLeader)) => {
                    return Err(error);
                }
                // One shard that cannot be dropped must not keep the others from it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(dropped), Err)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::{duty::retention::Retention, testing::Bed};
    use asyncflow_store::LeaderFence;

    /// A drained shard 1 of `train` with one finished task; gives its id.
    async fn drained(bed: &Bed, lead: &LeaderFence) -> asyncflow_core::id::TaskId {
        let id = bed.new_task("train", None).await;
        bed.complete(&id).await;
        bed.roll("train", lead).await;
        let looked = bed.store.drain_shards(None, lead).await.unwrap();
        assert_eq!(looked.drained.as_slice(), std::slice::from_ref(&id.shard));
        id
    }

    async fn state(bed: &Bed) -> ShardState {
        bed.store.list_shards(None).await.unwrap()[0].state
    }

    #[tokio::test]
    async fn a_drained_shard_goes_when_its_last_task_is_past_its_retention() {
        for bed in Bed::everywhere().await {
            let (lead, mut duty) = (bed.lead("g1").await, Drop::new(&bed.config()));
            let id = drained(&bed, &lead).await;
            for retention_ms in [0, 3_600_000] {
                bed.set_type("train", |task_type| task_type.retention_ms = retention_ms).await;
                assert_eq!(bed.run(&mut duty, &lead).await.unwrap(), 0);
                assert_eq!(state(&bed).await, ShardState::Drained);
                assert!(bed.task(&id).await.is_some());
            }
            bed.set_type("train", |task_type| task_type.retention_ms = 1).await;
            // The duty that deletes row by row leaves what is dropped as a whole.
            bed.run(&mut Retention::new(&bed.config()), &lead).await.unwrap();
            assert!(bed.task(&id).await.is_some());
            while bed.run(&mut duty, &lead).await.unwrap() == 0 {}
            assert_eq!(state(&bed).await, ShardState::Gone);
            assert!(bed.task(&id).await.is_none());
        }
    }

    #[tokio::test]
    async fn a_shard_with_a_task_that_was_retried_is_kept() {
        let bed = Bed::sqlite().await;
        let (lead, mut duty) = (bed.lead("g1").await, Drop::new(&bed.config()));
        bed.set_type("train", |task_type| task_type.retention_ms = 1).await;
        let id = drained(&bed, &lead).await;
        bed.apply(&id, asyncflow_core::event::Event::retry(false)).await;
        assert_eq!(bed.run(&mut duty, &lead).await.unwrap(), 0);
        assert_eq!(state(&bed).await, ShardState::Closed);
        assert!(bed.task(&id).await.is_some());
    }

    #[tokio::test]
    async fn a_shard_is_archived_first_when_its_type_says_so_or_kept() {
        for bed in Bed::everywhere().await {
            let lead = bed.lead("g1").await;
            let change = |t: &mut TaskType| (t.retention_ms, t.archive) = (1, true);
            bed.set_type("train", change).await;
            let id = drained(&bed, &lead).await;
            let mut without = Drop::new(&bed.config());
            while without.told.is_empty() {
                assert_eq!(bed.run(&mut without, &lead).await.unwrap(), 0);
            }
            assert_eq!(state(&bed).await, ShardState::Drained);

            let dir = tempfile::tempdir().unwrap();
            let mut config = bed.config();
            config.archive.url = format!("file://{}", dir.path().display());
            assert_eq!(bed.run(&mut Drop::new(&config), &lead).await.unwrap(), 1);
            assert_eq!(state(&bed).await, ShardState::Gone);
            assert!(bed.task(&id).await.is_none());
            let shard = bed.store.list_shards(None).await.unwrap().remove(0);
            let manifest = shard.archive.strip_prefix("file://").unwrap();
            let manifest = std::fs::read_to_string(manifest).unwrap();
            assert!(manifest.contains(&id.to_string()), "{manifest}");
        }
    }

    #[tokio::test]
    async fn an_older_term_drops_nothing() {
        let bed = Bed::sqlite().await;
        let (old, mut duty) = (bed.lead("g1").await, Drop::new(&bed.config()));
        bed.set_type("train", |task_type| task_type.retention_ms = 1).await;
        let id = drained(&bed, &old).await;
        bed.lead("g2").await;
        let refused = loop {
            match bed.run(&mut duty, &old).await {
                Ok(0) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert!(bed.task(&id).await.is_some());
    }
}

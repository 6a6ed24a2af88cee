//! `reconcile`: compares the counts that every transaction keeps up with the rows, a shard per run,
//! and repairs what is wrong.
//!
//! The counts are exact, so whatever this finds is a mistake of ours or the work of other hands.
//! The comparison holds a snapshot for as long as it walks the rows, and meanwhile the database
//! cannot clear away dead ones; so it ends, done or not, after `reconcile_snapshot_max_ms`.

use super::{Duty, DutyContext};
use crate::config::GovernorConfig;
use asyncflow_core::{
    id::ShardId,
    shard::{Shard, ShardState},
};
use asyncflow_store::{CompareLimits, Compared, Comparison, StoreError};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Rows that one statement walks.
const PAGE_ROWS: u32 = 10_000;

/// See the module.
pub(crate) struct Reconcile {
    interval: Duration,
    limits: CompareLimits,
    /// Looks so far, and what they were at.
    looks: u64,
    looked_at: HashMap<ShardId, Looked>,
}

/// The last look at a shard.
#[derive(Clone, Copy, Default)]
struct Looked {
    /// Which look of this process it was, from 1.
    look: u64,
    /// The version of the registry's row under which the counts were right.
    right_version: Option<i64>,
}

impl Reconcile {
    pub fn new(config: &GovernorConfig) -> Self {
        let snapshot_max = Duration::from_millis(config.duties.reconcile_snapshot_max_ms);
        Self {
            interval: Duration::from_millis(config.duties.reconcile_interval_ms),
            limits: CompareLimits { page_rows: PAGE_ROWS, snapshot_max },
            looks: 0,
            looked_at: HashMap::new(),
        }
    }

    /// The shard that was not looked at for longest. A drained one that was right stays so, for its
    /// version changes when anything happens in it.
    fn next(&mut self, shards: &[Shard]) -> Option<ShardId> {
        let known: HashSet<&ShardId> = shards.iter().map(|shard| &shard.id).collect();
        self.looked_at.retain(|id, _| known.contains(id));
        let looked = |shard: &Shard| self.looked_at.get(&shard.id).copied().unwrap_or_default();
        let due = shards.iter().filter(|shard| match shard.state {
            ShardState::Open | ShardState::Closed => true,
            ShardState::Drained => looked(shard).right_version != Some(shard.version),
            ShardState::Creating | ShardState::Dropping | ShardState::Gone => false,
        });
        due.min_by_key(|shard| looked(shard).look).map(|shard| shard.id.clone())
    }

    /// Compares and repairs; returns how many counts it repaired and the version that was right.
    async fn look(
        &self,
        cx: &DutyContext,
        shard: &ShardId,
    ) -> Result<(u64, Option<i64>), StoreError> {
        let comparison = match cx.store.compare_counts(shard, self.limits).await? {
            Compared::Whole(comparison) => comparison,
            Compared::TooLong { rows } => {
                metrics::counter!("asyncflow_governor_reconcile_given_up_total").increment(1);
                let (task_type, number) = (&shard.task_type, shard.number);
                tracing::warn!(%task_type, shard = number, rows,
                    "the shard's counts were not compared: reading its rows takes longer than \
                     duties.reconcile_snapshot_max_ms");
                return Ok((0, None));
            }
            // It was dropped a moment ago.
            Compared::Unreadable => return Ok((0, None)),
        };
        let rows = u64::try_from(comparison.rows).unwrap_or_default();
        metrics::counter!("asyncflow_governor_reconcile_rows_total").increment(rows);
        if comparison.drifts.is_empty() {
            return Ok((0, Some(comparison.version)));
        }
        if !cx.store.repair_counts(&comparison, &cx.fence).await? {
            return Ok((0, None));
        }
        tell(&comparison);
        Ok((comparison.drifts.len() as u64, None))
    }
}

/// Says what was repaired.
fn tell(comparison: &Comparison) {
    let Comparison { shard, drifts, .. } = comparison;
    let drift: u64 = drifts.iter().map(|drift| drift.found.abs_diff(drift.counted)).sum();
    let users = drifts.iter().map(|drift| &drift.user).collect::<HashSet<_>>().len();
    metrics::counter!("asyncflow_governor_count_drift_total").increment(drift);
    tracing::warn!(task_type = %shard.task_type, shard = shard.number, counts = drifts.len(),
        users, drift, "counts were not those of the rows and were repaired");
}

#[async_trait::async_trait]
impl Duty for Reconcile {
    fn name(&self) -> &'static str {
        "reconcile"
    }

    fn description(&self) -> &'static str {
        "compares the counts of a shard with its rows, shard after shard, and repairs them"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let shards = cx.store.list_shards(None).await?;
        let Some(shard) = self.next(&shards) else { return Ok(0) };
        self.looks += 1;
        // Noted before, so that a shard that cannot be read does not keep the others waiting.
        let looked = Looked { look: self.looks, right_version: None };
        self.looked_at.insert(shard.clone(), looked);
        let (repaired, right_version) = self.look(cx, &shard).await?;
        self.looked_at.insert(shard, Looked { right_version, ..looked });
        Ok(repaired)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::{
        config::{DEFAULT_CONFIG, ENV_PREFIX},
        testing::Bed,
    };
    use asyncflow_core::{id::TypeName, state::TaskState};
    use asyncflow_service::config::Sources;
    use asyncflow_store::testing::{add_drift, drop_tasks};

    async fn pending(bed: &Bed) -> i64 {
        let counts = bed.store.shard_counts(None).await.unwrap();
        let of_state = counts.iter().filter(|count| count.state == TaskState::Pending);
        of_state.map(|count| count.tasks).sum()
    }

    #[tokio::test]
    async fn every_shard_has_its_turn_and_is_repaired() {
        for bed in Bed::everywhere().await {
            let (lead, mut reconcile) = (bed.lead("g1").await, Reconcile::new(&bed.config()));
            assert_eq!(bed.run(&mut reconcile, &lead).await.unwrap(), 0, "without shards");
            let mut shards = Vec::new();
            for task_type in ["train", "zip", "mail"] {
                shards.push(bed.new_task(task_type, None).await.shard);
            }
            for by in [5, -7] {
                for shard in &shards {
                    add_drift(&bed.store, shard, "ana", TaskState::Pending, by).await;
                    add_drift(&bed.store, shard, "bob", TaskState::Running, by).await;
                }
                for _ in &shards {
                    assert_eq!(bed.run(&mut reconcile, &lead).await.unwrap(), 2);
                }
                assert_eq!(pending(&bed).await, 3);
            }
            for _ in &shards {
                assert_eq!(bed.run(&mut reconcile, &lead).await.unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn an_older_term_repairs_nothing() {
        let bed = Bed::sqlite().await;
        let old = bed.lead("g1").await;
        let shard = bed.new_task("train", None).await.shard;
        add_drift(&bed.store, &shard, "ana", TaskState::Pending, 5).await;
        let new = bed.lead("g2").await;
        let mut reconcile = Reconcile::new(&bed.config());
        let refused = bed.run(&mut reconcile, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert_eq!(pending(&bed).await, 6);
        assert_eq!(bed.run(&mut reconcile, &new).await.unwrap(), 1);
        assert_eq!(pending(&bed).await, 1);
    }

    #[tokio::test]
    async fn a_shard_that_cannot_be_read_is_passed_over() {
        let bed = Bed::sqlite().await;
        let (lead, mut reconcile) = (bed.lead("g1").await, Reconcile::new(&bed.config()));
        let broken = bed.new_task("broken", None).await.shard;
        let shard = bed.new_task("train", None).await.shard;
        drop_tasks(&bed.store, &broken).await;
        add_drift(&bed.store, &shard, "ana", TaskState::Pending, 5).await;
        let told = bed.run(&mut reconcile, &lead).await;
        assert!(matches!(told, Err(StoreError::NoSuchTable(_))), "{told:?}");
        assert_eq!(bed.run(&mut reconcile, &lead).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_snapshot_that_is_held_too_long_is_given_up() {
        let bed = Bed::sqlite().await;
        let lead = bed.lead("g1").await;
        let mut config = bed.config();
        config.duties.reconcile_snapshot_max_ms = 0;
        let mut reconcile = Reconcile::new(&config);
        let shard = bed.new_task("train", None).await.shard;
        add_drift(&bed.store, &shard, "ana", TaskState::Pending, 5).await;
        assert_eq!(bed.run(&mut reconcile, &lead).await.unwrap(), 0);
        assert_eq!(pending(&bed).await, 6);
    }

    #[test]
    fn a_drained_shard_that_was_right_is_left_alone() {
        let bare = |number, state, version| Shard {
            id: ShardId { task_type: TypeName::new("train").unwrap(), number },
            state,
            version,
            create_time_ms: 0,
            update_time_ms: 0,
            close_time_ms: None,
            drain_time_ms: None,
            archive: String::new(),
        };
        let sources = Sources::new(DEFAULT_CONFIG, ENV_PREFIX).env([]);
        let mut reconcile = Reconcile::new(&GovernorConfig::load(&sources).unwrap());
        let drained = bare(1, ShardState::Drained, 4);
        let gone = bare(2, ShardState::Gone, 6);
        let open = bare(3, ShardState::Open, 2);
        let right = Looked { look: 1, right_version: Some(4) };
        reconcile.looked_at.insert(drained.id.clone(), right);
        let right = Looked { look: 2, right_version: Some(2) };
        reconcile.looked_at.insert(open.id.clone(), right);
        let reopened = bare(1, ShardState::Drained, 6);
        let shards = [drained.clone(), gone.clone(), open.clone()];
        assert_eq!(reconcile.next(&shards), Some(open.id.clone()));
        assert_eq!(reconcile.next(&[reopened, gone.clone(), open]), Some(drained.id.clone()));
        assert_eq!(reconcile.next(&[gone]), None);
        assert!(reconcile.looked_at.is_empty());
    }
}

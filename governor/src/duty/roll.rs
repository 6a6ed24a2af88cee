//! `roll`: closes a type's open shard when it is full or old enough, and opens the next one.
//!
//! Rows are added up no more often than a shard could become full in between.
//!
//! It also tells how full the open shards are: a warning when one passes four fifths of its limit,
//! and `asyncflow_shard_overdue` for as long as one is over its limit and cannot be rolled.

use super::{Duty, DutyContext, every_type::all_types};
use crate::config::GovernorConfig;
use asyncflow_core::{
    id::ShardId,
    shard::{Shard, ShardState},
    task_type::TaskType,
};
use asyncflow_store::StoreError;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// How full a shard is when people are told.
const FILL_TOLD: f64 = 0.8;
/// A shard that is being made for longer than this was left behind by whoever began it.
const CREATING_MS_MAX: i64 = 5_000;

/// More rows than all brokers together create in a millisecond.
const ROWS_PER_MS_MAX: u64 = 200;
/// Between two looks at the rows of a shard, at most.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// The rows of an open shard, when they were added up last.
#[derive(Clone, Copy)]
struct Look {
    rows: i64,
    at: Duration,
}

/// See the module.
pub(crate) struct Roll {
    interval: Duration,
    looks: HashMap<ShardId, Look>,
    /// Open shards that people were told of: nearly full, and over their limit.
    nearly_full: HashSet<ShardId>,
    overdue: HashSet<ShardId>,
}

impl Roll {
    pub fn new(config: &GovernorConfig) -> Self {
        Self {
            interval: Duration::from_millis(config.duties.roll_interval_ms),
            looks: HashMap::new(),
            nearly_full: HashSet::new(),
            overdue: HashSet::new(),
        }
    }

    /// Whether the shard may have become full since its rows were added up.
    fn may_be_full(&self, task_type: &TaskType, open: &ShardId, now: Duration) -> bool {
        self.looks.get(open).is_none_or(|look| {
            let left = task_type.shard_max_rows.saturating_sub(look.rows).max(0).unsigned_abs();
            let pause = Duration::from_millis(left / ROWS_PER_MS_MAX);
            now.saturating_sub(look.at) >= pause.min(LOOK_INTERVAL_MAX)
        })
    }

    /// Adds up the rows of those open shards that may have become full.
    async fn look_at_rows(
        &mut self,
        cx: &DutyContext,
        open: &[(&TaskType, &ShardId)],
    ) -> Result<(), StoreError> {
        let now = cx.clock.elapsed();
        self.looks.retain(|id, _| open.iter().any(|(_, open)| *open == id));
        let due = open.iter().filter(|(of, id)| self.may_be_full(of, id, now));
        let due: Vec<&ShardId> = due.map(|(_, id)| *id).collect();
        let mut rows: HashMap<ShardId, i64> = HashMap::new();
        for count in cx.store.counts_of(&due).await? {
            *rows.entry(count.shard).or_default() += count.tasks;
        }
        for id in due {
            let rows = rows.get(id).copied().unwrap_or_default();
            self.looks.insert(id.clone(), Look { rows, at: now });
        }
        Ok(())
    }

    /// Rolls the type over if it is time, and says whether.
    async fn look(
        &mut self,
        cx: &DutyContext,
        task_type: &TaskType,
        shards: &[Shard],
        rows: i64,
    ) -> Result<bool, StoreError> {
        let now_ms = cx.store.now_ms().await?;
        let open = shards.iter().rev().find(|shard| shard.state == ShardState::Open);
        if let Some(open) = open {
            self.tell_fill(task_type, open, rows);
        }
        let age_ms = |shard: &Shard| now_ms.saturating_sub(shard.create_time_ms);
        let reason = open.and_then(|open| task_type.roll_reason(rows, age_ms(open)));
        let is_left_behind =
            |shard: &Shard| shard.state == ShardState::Creating && age_ms(shard) >= CREATING_MS_MAX;
        if reason.is_none() && !shards.iter().any(is_left_behind) {
            return Ok(false);
        }
        let rolled = cx.store.roll_shard(&task_type.name, Some(&cx.fence)).await;
        if let Some(open) = open {
            let overdue = rolled.is_err() && task_type.fill_ratio(rows) >= 1.0;
            self.tell_overdue(task_type, &open.id, overdue);
        }
        let number = rolled?.number;
        tracing::info!(task_type = %task_type.name, number, rows, ?reason, "rolled over");
        Ok(true)
    }

    fn tell_fill(&mut self, task_type: &TaskType, open: &Shard, rows: i64) {
        let fill = task_type.fill_ratio(rows);
        let name = task_type.name.to_string();
        metrics::gauge!("asyncflow_shard_rows", "task_type" => name.clone()).set(rows as f64);
        metrics::gauge!("asyncflow_shard_fill_ratio", "task_type" => name.clone()).set(fill);
        // One that is full stays as it was until its roll went well or not: an alert waits for a
        // minute of it.
        if fill < 1.0 {
            metrics::gauge!("asyncflow_shard_overdue", "task_type" => name).set(0.0);
        }
        if fill >= FILL_TOLD && self.nearly_full.insert(open.id.clone()) {
            let (number, rows_max) = (open.id.number, task_type.shard_max_rows);
            tracing::warn!(task_type = %task_type.name, number, rows, rows_max,
                "a shard passes 80 % of its rows; it is rolled over at 100 %");
        }
    }

    fn tell_overdue(&mut self, task_type: &TaskType, open: &ShardId, overdue: bool) {
        let name = task_type.name.to_string();
        metrics::gauge!("asyncflow_shard_overdue", "task_type" => name)
            .set(f64::from(u8::from(overdue)));
        if overdue && self.overdue.insert(open.clone()) {
            tracing::warn!(task_type = %task_type.name, number = open.number,
                "a shard is over its limit and cannot be rolled over");
        }
    }
}

#[async_trait::async_trait]
impl Duty for Roll {
    fn name(&self) -> &'static str {
        "roll"
    }

    fn description(&self) -> &'static str {
        "closes shards that are full or old enough and opens the next ones"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let shards = cx.store.list_shards(None).await?;
        let types = all_types(&cx.store).await?;
        let newest_open = |task_type: &TaskType| {
            let mut of_type = shards.iter().rev().filter(|s| s.id.task_type == task_type.name);
            of_type.find(|shard| shard.state == ShardState::Open)
        };
        let open = types.iter().filter_map(|of| Some((of, &newest_open(of)?.id)));
        self.look_at_rows(cx, &open.collect::<Vec<_>>()).await?;
        let is_open = |id: &ShardId| {
            shards.iter().any(|shard| shard.id == *id && shard.state == ShardState::Open)
        };
        self.nearly_full.retain(is_open);
        self.overdue.retain(is_open);
        let (mut rolled, mut failed) = (0, None);
        for task_type in &types {
            let of_type = |shard: &&Shard| shard.id.task_type == task_type.name;
            let shards: Vec<Shard> = shards.iter().filter(of_type).cloned().collect();
            let open = shards.iter().rev().find(|shard| shard.state == ShardState::Open);
            let look = open.and_then(|open| self.looks.get(&open.id));
            let rows = look.map_or(0, |look| look.rows);
            match self.look(cx, task_type, &shards, rows).await {
                Ok(was_rolled) => rolled += u64::from(was_rolled),
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NotLeader)) => {
                    return Err(error);
                }
                // One type that cannot be rolled must not keep the others from it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(rolled), Err)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::Bed;
    use asyncflow_core::id::TypeName;

    async fn states(bed: &Bed) -> Vec<ShardState> {
        bed.store.list_shards(None).await.unwrap().iter().map(|shard| shard.state).collect()
    }

    #[tokio::test]
    async fn a_full_shard_is_closed_and_the_next_one_takes_the_tasks() {
        for bed in Bed::everywhere().await {
            let (lead, mut roll) = (bed.lead("g1").await, Roll::new(&bed.config()));
            bed.set_type("train", |task_type| task_type.shard_max_rows = 3).await;
            let mut ids =
                vec![bed.new_task("train", None).await, bed.new_task("train", None).await];
            assert_eq!(bed.run(&mut roll, &lead).await.unwrap(), 0);
            ids.push(bed.new_task("train", None).await);
            assert_eq!(bed.run(&mut roll, &lead).await.unwrap(), 1);
            assert_eq!(states(&bed).await, [ShardState::Closed, ShardState::Open]);
            ids.push(bed.new_task("train", None).await);
            let numbers: Vec<_> = ids.iter().map(|id| id.shard.number).collect();
            assert_eq!(numbers, [1, 1, 1, 2]);
            assert_eq!(bed.run(&mut roll, &lead).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn an_old_shard_is_closed_only_with_rows_in_it() {
        let bed = Bed::sqlite().await;
        let (lead, mut roll) = (bed.lead("g1").await, Roll::new(&bed.config()));
        bed.set_type("empty", |task_type| task_type.shard_max_age_ms = 1).await;
        bed.store.open_shard(&TypeName::new("empty").unwrap()).await.unwrap();
        bed.new_task("train", None).await;
        bed.set_type("train", |task_type| task_type.shard_max_age_ms = 1).await;
        let mut rolled = 0;
        // Until the shard is a millisecond old by the database's clock.
        while rolled == 0 {
            rolled = bed.run(&mut roll, &lead).await.unwrap();
        }
        assert_eq!(rolled, 1);
        let shards = bed.store.list_shards(None).await.unwrap();
        let numbers: Vec<_> =
            shards.iter().map(|s| (s.id.task_type.as_str(), s.id.number)).collect();
        assert_eq!(numbers, [("empty", 1), ("train", 1), ("train", 2)]);
    }

    #[tokio::test]
    async fn an_older_term_rolls_nothing() {
        let bed = Bed::sqlite().await;
        let (old, mut roll) = (bed.lead("g1").await, Roll::new(&bed.config()));
        bed.set_type("train", |task_type| task_type.shard_max_rows = 1).await;
        bed.new_task("train", None).await;
        bed.lead("g2").await;
        let refused = bed.run(&mut roll, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert_eq!(states(&bed).await, [ShardState::Open]);
    }

    #[tokio::test]
    async fn the_fill_of_open_shards_is_told_once_and_measured() {
        let bed = Bed::sqlite().await;
        let (lead, mut roll) = (bed.lead("g1").await, Roll::new(&bed.config()));
        let metrics = asyncflow_service::telemetry::metrics();
        bed.set_type("fill_told", |task_type| task_type.shard_max_rows = 5).await;
        for told in [0, 0, 0, 1] {
            bed.new_task("fill_told", None).await;
            bed.run(&mut roll, &lead).await.unwrap();
            assert_eq!(roll.nearly_full.len(), told);
        }
        let text = metrics.render();
        for line in [
            "asyncflow_shard_rows{task_type=\"fill_told\"} 4",
            "asyncflow_shard_fill_ratio{task_type=\"fill_told\"} 0.8",
            "asyncflow_shard_overdue{task_type=\"fill_told\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        bed.new_task("fill_told", None).await;
        assert_eq!(bed.run(&mut roll, &lead).await.unwrap(), 1);
        bed.run(&mut roll, &lead).await.unwrap();
        assert!(roll.nearly_full.is_empty(), "the next shard is told of anew");
    }

    #[tokio::test]
    async fn a_shard_that_cannot_be_rolled_is_overdue_until_it_is() {
        let bed = Bed::sqlite().await;
        let (old, mut roll) = (bed.lead("g1").await, Roll::new(&bed.config()));
        let metrics = asyncflow_service::telemetry::metrics();
        let overdue = |value: u8| {
            let line = format!("asyncflow_shard_overdue{{task_type=\"late\"}} {value}");
            metrics.render().lines().any(|found| found == line)
        };
        bed.set_type("late", |task_type| task_type.shard_max_rows = 1).await;
        bed.new_task("late", None).await;
        let new = bed.lead("g2").await;
        bed.run(&mut roll, &old).await.unwrap_err();
        assert!(overdue(1) && roll.overdue.len() == 1);
        bed.run(&mut roll, &new).await.unwrap();
        assert!(overdue(0));
        bed.run(&mut roll, &new).await.unwrap();
        assert!(roll.overdue.is_empty());
    }
}

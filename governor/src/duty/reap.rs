//! `reap`: takes back the tasks of workers that died, by two looks.
//!
//! The first look notes which leases have run out by the database's clock, with the number of
//! heartbeats so far. Only a look at least one and a half heartbeats later, by this process's
//! monotonic clock, that finds the same number takes the task back, and only if the database
//! answered all the time in between: a clock that jumps or a database that was away kills nothing.
//! Neither do brokers that are away: while none of them lives, no heartbeat can arrive.
//! How often workers renew is said by the brokers' rows, if it is less often than the settings say.

use super::{Duty, DutyContext, every_type::all_types};
use crate::{clock::millis, config::GovernorConfig};
use asyncflow_core::lease::{BrokerWatch, LookBook, Suspect, heartbeat_ms_of};
use asyncflow_store::{ApplyError, StoreError};
use std::time::Duration;

/// Suspicions that are remembered; those beyond wait until there is room.
const SUSPECTS_MAX: usize = 200_000;
/// Run-out leases that a look reads of each shard and state, those that ran out first.
const SHARD_SUSPECTS_MAX: u32 = 20_000;

/// What the database says at one time.
struct Look {
    /// Of the brokers, see [`BrokerWatch`].
    beats: Vec<(String, i64)>,
    /// Of all types whose tables can be read.
    suspects: Vec<Suspect>,
    /// Why one cannot, although the database answers: it must not keep the others from being
    /// looked after.
    unreadable: Option<StoreError>,
}

/// See the module.
pub(crate) struct Reap {
    interval: Duration,
    batch_rows_max: usize,
    /// Of this governor's settings.
    heartbeat_ms: i64,
    /// What counted at the last look, see [`longest_heartbeat_ms`].
    counted_ms: i64,
    book: LookBook,
    brokers: BrokerWatch,
    /// The epoch and the count of outages at the last look.
    looked_at: Option<(i64, u64)>,
}

impl Reap {
    pub fn new(config: &GovernorConfig) -> Self {
        let interval = Duration::from_millis(config.duties.reap_interval_ms);
        let heartbeat_ms = i64::try_from(config.lease.heartbeat_interval_ms).unwrap_or(i64::MAX);
        Self {
            interval,
            batch_rows_max: config.duties.batch_rows_max as usize,
            heartbeat_ms,
            counted_ms: heartbeat_ms,
            book: LookBook::new(heartbeat_ms, millis(interval), SUSPECTS_MAX),
            brokers: BrokerWatch::default(),
            looked_at: None,
        }
    }

    /// Forgets what earlier looks saw, unless nothing came in between.
    fn go_on_or_begin_anew(&mut self, cx: &DutyContext) {
        let now = (cx.fence.epoch, cx.outages.count());
        if self.looked_at.replace(now) != Some(now) {
            self.book.interrupted();
        }
    }

    /// Waits for as long as the slowest workers may be silent. A difference is told when it is
    /// found.
    fn learn_heartbeat(&mut self, beats: &[(String, i64)]) {
        let counted_ms = longest_heartbeat_ms(self.heartbeat_ms, beats);
        if counted_ms == self.counted_ms {
            return;
        }
        self.counted_ms = counted_ms;
        self.book.set_heartbeat(counted_ms);
        if counted_ms == self.heartbeat_ms {
            return tracing::info!(
                heartbeat_ms = counted_ms,
                "the heartbeats of brokers fit again"
            );
        }
        tracing::warn!(
            "lease.heartbeat_interval_ms is {} here, and workers of a broker, or of one of the \
             last day, renew every {counted_ms} ms, which counts: set both to the same",
            self.heartbeat_ms
        );
    }

    async fn look(&self, cx: &DutyContext) -> Result<Look, StoreError> {
        let beats = cx.store.broker_beats().await?;
        let (mut suspects, mut unreadable) = (Vec::new(), None);
        for task_type in all_types(&cx.store).await? {
            match cx.store.expired_leases(&task_type.name, SHARD_SUSPECTS_MAX).await {
                Ok(of_type) => suspects.extend(of_type),
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                Err(error) => unreadable = Some(error),
            }
        }
        Ok(Look { beats, suspects, unreadable })
    }
}

#[async_trait::async_trait]
impl Duty for Reap {
    fn name(&self) -> &'static str {
        "reap"
    }

    fn description(&self) -> &'static str {
        "takes back the tasks of workers that were not heard of at two looks"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        self.go_on_or_begin_anew(cx);
        let Look { beats, suspects, unreadable } = match self.look(cx).await {
            Ok(look) => look,
            Err(error) => {
                self.book.interrupted();
                return Err(error);
            }
        };
        let now_ms = millis(cx.clock.elapsed());
        self.learn_heartbeat(&beats);
        if self.brokers.is_away(beats, self.counted_ms, now_ms) {
            self.book.interrupted();
            return Ok(0);
        }
        let confirmed: Vec<Suspect> =
            self.book.look(&suspects, now_ms).into_iter().cloned().collect();
        metrics::gauge!("asyncflow_governor_suspects").set(self.book.suspicions() as f64);
        let mut reaped = 0;
        for batch in confirmed.chunks(self.batch_rows_max) {
            reaped += reap_batch(cx, batch).await?;
        }
        unreadable.map_or(Ok(reaped), Err)
    }
}

/// How long the workers' heartbeats are apart: as set here, or longer where a broker says so. One
/// that has died counts until its row is forgotten, as its workers keep what it told them.
fn longest_heartbeat_ms(set_ms: i64, beats: &[(String, i64)]) -> i64 {
    beats.iter().filter_map(|(broker_id, _)| heartbeat_ms_of(broker_id)).fold(set_ms, i64::max)
}

/// How many were taken back. Those that moved on meanwhile are no errors: that is what the
/// condition is for.
async fn reap_batch(cx: &DutyContext, batch: &[Suspect]) -> Result<u64, StoreError> {
    let mut reaped = 0;
    let mut failed = None;
    for outcome in cx.store.reap(batch.to_vec(), Some(&cx.fence)).await {
        match outcome {
            Ok(applied) => {
                let task = &applied.task;
                tracing::info!(task_id = %task.id, attempt = task.attempt, state = %task.state,
                    worker_id = task.holder.worker_id, trace_id = task.trace_id,
                    "took a task back");
                reaped += 1;
            }
            Err(ApplyError::Store(error)) => failed = Some(error),
            Err(error) => tracing::debug!(%error, "a suspect moved on"),
        }
    }
    failed.map_or(Ok(reaped), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::{Bed, LONG_MS, NO_TIME_MS};
    use asyncflow_core::{lease::broker_id, reason::FailureReason, state::TaskState};
    use asyncflow_store::testing::{Durability, drop_tasks, fresh_database, start_mariadb};

    #[tokio::test]
    async fn a_silent_worker_loses_its_task_at_the_second_look_only() {
        for bed in Bed::everywhere().await {
            let (fence, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
            // Several types, so that a reaper that stops at the first table is found out.
            let (dead, other) =
                (bed.new_task("train", None).await, bed.new_task("zip", None).await);
            let alive = bed.new_task("train", None).await;
            bed.start(&dead, NO_TIME_MS).await;
            bed.start(&other, NO_TIME_MS).await;
            bed.start(&alive, LONG_MS).await;

            assert_eq!(bed.run(&mut reap, &fence).await.unwrap(), 0);
            assert_eq!(bed.run_after(5, &mut reap, &fence).await.unwrap(), 0);
            assert_eq!(bed.run_after(5, &mut reap, &fence).await.unwrap(), 0);
            assert_eq!(bed.run_after(5, &mut reap, &fence).await.unwrap(), 2);
            for id in [&dead, &other] {
                let task = bed.task(id).await.unwrap();
                assert_eq!((task.state, task.crashes, task.failures), (TaskState::Pending, 1, 0));
                assert_eq!(task.failure.unwrap().reason, FailureReason::LeaseLost);
            }
            assert_eq!(bed.task(&alive).await.unwrap().state, TaskState::Running);
            assert_eq!(bed.run_after(5, &mut reap, &fence).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_type_whose_table_is_gone_does_not_keep_the_others_waiting() {
        let bed = Bed::sqlite().await;
        let config = bed.config();
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&config));
        let gone = bed.new_task("broken", None).await;
        let dead = bed.new_task("train", None).await;
        bed.start(&dead, NO_TIME_MS).await;
        drop_tasks(&bed.store, &gone.shard).await;
        for _ in 0..4 {
            let told = bed.run_after(5, &mut reap, &lead).await;
            assert!(matches!(told, Err(StoreError::NoSuchTable(_))), "{told:?}");
            // No other duty may take it for an outage, which would begin all looks anew.
            for duty in &mut crate::duty::all(&config) {
                let outcome = bed.run(&mut **duty, &lead).await;
                assert!(!matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
            }
        }
        assert_eq!(bed.task(&dead).await.unwrap().state, TaskState::Pending);
    }

    #[tokio::test]
    async fn a_heartbeat_between_two_looks_saves_the_task() {
        let bed = Bed::sqlite().await;
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        let fence = bed.start(&id, NO_TIME_MS).await;
        for _ in 0..8 {
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
            // The lease is run out again at once, as under a database clock that leaps.
            bed.beat(&id, fence).await;
        }
        assert_eq!(bed.task(&id).await.unwrap().state, TaskState::Running);
    }

    #[tokio::test]
    async fn what_was_only_handed_out_goes_back_without_a_counter() {
        let bed = Bed::sqlite().await;
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        bed.claim(&id, NO_TIME_MS).await;
        assert_eq!(bed.run(&mut reap, &lead).await.unwrap(), 1);
        let task = bed.task(&id).await.unwrap();
        assert_eq!(task.state, TaskState::Pending);
        assert_eq!((task.attempt, task.crashes, task.failures), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_task_that_loses_its_workers_again_and_again_is_poison() {
        let bed = Bed::sqlite().await;
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        // `max_crashes` of the test's tasks is 1.
        let id = bed.new_task("train", None).await;
        for _ in 0..2 {
            bed.start(&id, NO_TIME_MS).await;
            for _ in 0..4 {
                bed.run_after(5, &mut reap, &lead).await.unwrap();
            }
        }
        let task = bed.task(&id).await.unwrap();
        assert_eq!((task.state, task.crashes), (TaskState::Failed, 2));
        assert_eq!(task.failure.unwrap().reason, FailureReason::Poison);
    }

    #[tokio::test]
    async fn an_outage_between_two_looks_gives_everybody_time() {
        let bed = Bed::sqlite().await;
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        bed.start(&id, NO_TIME_MS).await;
        bed.run(&mut reap, &lead).await.unwrap();
        bed.run_after(5, &mut reap, &lead).await.unwrap();
        bed.run_after(5, &mut reap, &lead).await.unwrap();
        // Begun and ended between two looks; only the renewal of the lead met it.
        bed.outages.note();
        for _ in 0..3 {
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
        }
        assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn while_no_broker_lives_nobody_is_dead() {
        for bed in Bed::everywhere().await {
            let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
            let id = bed.new_task("train", None).await;
            bed.start(&id, NO_TIME_MS).await;
            bed.store.beat_broker("b1").await.unwrap();
            assert_eq!(bed.run(&mut reap, &lead).await.unwrap(), 0);
            // Killed; for much longer than a lease.
            for _ in 0..20 {
                assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
            }
            // Another one comes, and workers have their time to be heard again.
            for _ in 0..3 {
                bed.store.beat_broker("b2").await.unwrap();
                assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
            }
            assert_eq!(bed.task(&id).await.unwrap().state, TaskState::Running);
            bed.store.beat_broker("b2").await.unwrap();
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn workers_that_renew_less_often_than_is_set_here_have_their_time() {
        for bed in Bed::everywhere().await {
            // Set to 10 s; this broker's workers renew every 40 s, as it says in its name.
            let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
            let slow = broker_id(7, 40_000);
            let id = bed.new_task("train", None).await;
            bed.start(&id, NO_TIME_MS).await;
            for look in 0..12 {
                bed.store.beat_broker(&slow).await.unwrap();
                assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0, "look {look}");
            }
            assert_eq!(bed.task(&id).await.unwrap().state, TaskState::Running);
            bed.store.beat_broker(&slow).await.unwrap();
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 1);
        }
    }

    #[test]
    fn the_longest_heartbeat_counts_and_names_of_older_brokers_say_none() {
        let beats = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), 1)).collect::<Vec<_>>();
        for (ids, longest) in [
            (&[][..], 10_000),
            (&["0123", "4567-2000"], 10_000),
            (&["0123-20000", "4567-30000", "89ab"], 30_000),
        ] {
            assert_eq!(longest_heartbeat_ms(10_000, &beats(ids)), longest, "{ids:?}");
        }
    }

    #[tokio::test]
    async fn a_database_that_was_killed_in_between_gives_everybody_time() {
        let mut server = start_mariadb(Durability::Process);
        let bed = Bed::open(fresh_database(&server).await, None).await;
        let (lead, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        bed.start(&id, NO_TIME_MS).await;
        for _ in 0..3 {
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
        }
        server.process().kill();
        let down = bed.run_after(5, &mut reap, &lead).await.unwrap_err();
        assert!(down.is_retryable(), "{down}");
        server.restart();
        let mut first_look = bed.run(&mut reap, &lead).await;
        while first_look.is_err() {
            first_look = bed.run(&mut reap, &lead).await;
        }
        assert_eq!(first_look.unwrap(), 0);
        for _ in 0..2 {
            assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 0);
        }
        assert_eq!(bed.run_after(5, &mut reap, &lead).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_older_term_takes_nothing_back() {
        let bed = Bed::sqlite().await;
        let (old, mut reap) = (bed.lead("g1").await, Reap::new(&bed.config()));
        let id = bed.new_task("train", None).await;
        bed.start(&id, NO_TIME_MS).await;
        for _ in 0..3 {
            bed.run_after(5, &mut reap, &old).await.unwrap();
        }
        let new = bed.lead("g2").await;
        assert_eq!(new.epoch, old.epoch + 1);
        let refused = bed.run_after(5, &mut reap, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert_eq!(bed.task(&id).await.unwrap().state, TaskState::Running);
        // A new term begins with a first look of its own.
        assert_eq!(bed.run_after(5, &mut reap, &new).await.unwrap(), 0);
    }
}

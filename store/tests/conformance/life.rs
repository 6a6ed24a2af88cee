//! The life of a shard: roll, drain, drop, and what comes in between.

use std::{path::Path, time::Duration};

use asyncflow_core::{
    event::Event,
    id::ShardId,
    shard::ShardState::{self, Closed, Drained, Dropping, Gone, Open},
    state::TaskState,
    task::{Labels, Task},
};
use asyncflow_store::{
    Archived, Backend, DropOutcome, DropTerms, GetError, LeaderFence, Parts, Store, StoreError,
    StoreOptions, testing::fill_finished,
};

use super::{
    fault::{Stop, another},
    fixture::{apply, claim, finish, insert_one, type_name},
};

/// Nothing is kept for its age.
const ALL: DropTerms = DropTerms { before_ms: i64::MAX, archived: None };
/// Everything is.
const NONE: DropTerms = DropTerms { before_ms: 0, archived: None };
const DROPPED: DropOutcome = DropOutcome::Dropped { rows: 1 };
const KEPT: DropOutcome = DropOutcome::Kept { live: true };

async fn lead(store: &Store, holder: &str) -> LeaderFence {
    store.try_lead(holder, -1).await.unwrap().unwrap()
}

async fn states(store: &Store) -> Vec<ShardState> {
    store.list_shards(Some(&type_name("work"))).await.unwrap().iter().map(|s| s.state).collect()
}

/// A task that has succeeded.
async fn done(store: &Store) -> Task {
    let id = insert_one(store).await.id;
    finish(store).await;
    store.get(&id, Parts::NONE).await.unwrap().task
}

/// One finished task in a DRAINED shard, and the leader who found it so.
async fn drained(store: &Store) -> (Task, LeaderFence) {
    let task = done(store).await;
    let fence = lead(store, "g1").await;
    store.roll_shard(&type_name("work"), Some(&fence)).await.unwrap();
    let found = store.drain_shards(None, &fence).await.unwrap();
    assert_eq!(found.drained, std::slice::from_ref(&task.id.shard));
    (task, fence)
}

pub async fn a_shard_lives_and_goes(store: Store) {
    let (task, fence) = drained(&store).await;
    assert_eq!(states(&store).await, [Drained, Open]);
    assert_eq!(store.active_shards(&type_name("work")).await.unwrap().len(), 1);
    let shard = &store.list_shards(None).await.unwrap()[0];
    assert!(shard.create_time_ms <= shard.close_time_ms.unwrap());
    assert!(shard.close_time_ms <= shard.drain_time_ms);
    let check = store.drop_check(&task.id.shard, task.order_time_ms).await.unwrap();
    assert_eq!((check.rows, check.live_rows, check.retained_rows), (1, 0, 1));
    assert_eq!(check.last_finish_ms, task.finish_time_ms);

    let outcome = store.drop_shard(&task.id.shard, ALL, &fence).await.unwrap();
    assert_eq!(outcome, DROPPED);
    assert_eq!(states(&store).await, [Gone, Open]);
    assert!(matches!(store.get(&task.id, Parts::NONE).await, Err(GetError::Expired { .. })));
    let next = insert_one(&store).await;
    assert_eq!(next.id.shard.number, 2);
    assert_eq!(
        store.drop_shard(&task.id.shard, ALL, &fence).await.unwrap(),
        DropOutcome::NotDrained
    );
}

pub async fn a_live_or_retained_row_keeps_its_shard(store: Store) {
    let (task, fence) = drained(&store).await;
    let shard = &task.id.shard;
    let kept = DropOutcome::Kept { live: false };
    assert_eq!(store.drop_shard(shard, NONE, &fence).await.unwrap(), kept);
    let newest = store.newest_key(shard).await.unwrap();
    let version = store.list_shards(None).await.unwrap()[0].version;
    let archived = |version| Some(Archived { version, last_key: newest });
    for not_archived in [archived(version), archived(version - 1)] {
        let terms = DropTerms { archived: not_archived, ..ALL };
        assert_eq!(store.drop_shard(shard, terms, &fence).await.unwrap(), kept);
    }
    assert_eq!(states(&store).await, [Drained, Open]);

    // Live again between the look and the rename: seen by the second look, under the new names.
    let dir = tempfile::tempdir().unwrap();
    let governor = another(&store, dir.path()).await;
    let dropping = stopped_at(&governor, dir.path(), "drop.begun", shard, &fence).await;
    apply(&store, &task.id, Event::retry(false)).await.unwrap();
    assert_eq!(dropping.go_on().await, KEPT);
    assert_eq!(states(&store).await, [Closed, Open]);
    assert_eq!(claim(&store, 2, 9).await.leased.len(), 1);
    governor.close().await;
}

pub async fn a_retry_reopens_a_drained_shard(store: Store) {
    let (task, fence) = drained(&store).await;
    apply(&store, &task.id, Event::retry(false)).await.unwrap();
    assert_eq!(states(&store).await, [Closed, Open], "in the same transaction");
    assert_eq!(finish(&store).await.id, task.id);
    assert_eq!(store.drain_shards(None, &fence).await.unwrap().drained.len(), 1);

    // Retried after the look that found nothing live and before the change that follows from it.
    store.drain_shards(None, &fence).await.unwrap();
    apply(&store, &task.id, Event::retry(false)).await.unwrap();
    finish(&store).await;
    let dir = tempfile::tempdir().unwrap();
    let governor = another(&store, dir.path()).await;
    let stop = Stop::at(dir.path(), "drain.seen");
    let (looking, of) = (governor.clone(), fence.clone());
    let looking = tokio::spawn(async move { looking.drain_shards(None, &of).await.unwrap() });
    stop.reached().await;
    apply(&store, &task.id, Event::retry(false)).await.unwrap();
    stop.release();
    assert_eq!(looking.await.unwrap().drained.len(), 1);
    assert_eq!(store.drain_shards(None, &fence).await.unwrap().reopened.len(), 1);
    assert_eq!(finish(&store).await.id, task.id);
    governor.close().await;
}

pub async fn a_late_insert_is_found_or_goes_elsewhere(store: Store) {
    let (task, fence) = drained(&store).await;
    let dir = tempfile::tempdir().unwrap();
    // A batch that is late by a second sees to it itself.
    std::fs::write(dir.path().join("insert.reopens.off"), "").unwrap();
    for (number, drops) in [(3, false), (4, true)] {
        // A broker that has looked where new tasks go, and stands still for a while.
        let broker = another(&store, dir.path()).await;
        let stop = Stop::at(dir.path(), "insert.placed");
        let late = broker.clone();
        let late = tokio::spawn(async move { insert_one(&late).await });
        stop.reached().await;
        let was_open = store.open_shard(&type_name("work")).await.unwrap();
        store.roll_shard(&type_name("work"), Some(&fence)).await.unwrap();
        let found = store.drain_shards(None, &fence).await.unwrap();
        assert!(found.drained.contains(&was_open));
        if drops {
            store.drop_shard(&was_open, ALL, &fence).await.unwrap();
        }
        stop.release();
        let late = late.await.unwrap();
        assert_eq!(late.id.shard.number, if drops { number } else { number - 1 });
        let found = store.drain_shards(None, &fence).await.unwrap();
        assert_eq!(found.reopened.len(), usize::from(!drops));
        assert_eq!(finish(&store).await.id, late.id);
        broker.close().await;
    }
    assert_eq!(store.drop_shard(&task.id.shard, ALL, &fence).await.unwrap(), DROPPED);
}

pub async fn every_step_is_continued_by_the_next_leader(store: Store) {
    let name = type_name("work");
    let dir = tempfile::tempdir().unwrap();
    let mut open = done(&store).await.id.shard;
    let rolls = ["roll.registered", "roll.created", "roll.opened"];
    let drops = [
        ["drop.begun", "drop.renamed"],
        ["drop.allowed", "ddl.checked"],
        ["drop.one_table", "drop.dropped"],
    ];
    for (n, (point, drops)) in rolls.into_iter().zip(drops).enumerate() {
        let (governor, fence) = (another(&store, dir.path()).await, lead(&store, "g1").await);
        let stop = Stop::at(dir.path(), point);
        let rolling = tokio::spawn({
            let (governor, name) = (governor.clone(), name.clone());
            async move { governor.roll_shard(&name, Some(&fence)).await }
        });
        stop.reached().await;
        done(&store).await;
        rolling.abort();
        stop.release();
        let next = lead(&store, "g2").await;
        if point != "roll.opened" {
            store.roll_shard(&name, Some(&next)).await.unwrap();
        }
        let now_open = another(&store, dir.path()).await.open_shard(&name).await.unwrap();
        assert_eq!(now_open.number, n as i32 + 2, "{point}: no number is left out");
        store.drain_shards(None, &next).await.unwrap();

        for point in drops {
            let fence = lead(&store, "g1").await;
            stopped_at(&governor, dir.path(), point, &open, &fence).await.kill().await;
        }
        let next = lead(&store, "g2").await;
        let outcome = dropped_at_last(&store, &open, ALL, &next).await;
        assert!(matches!(outcome, DropOutcome::Dropped { .. }), "{drops:?}: {outcome:?}");
        open = now_open;
        governor.close().await;
    }
    assert_eq!(states(&store).await, [Gone, Gone, Gone, Open]);
}

async fn dropped_at_last(
    store: &Store,
    shard: &ShardId,
    terms: DropTerms,
    fence: &LeaderFence,
) -> DropOutcome {
    loop {
        match store.drop_shard(shard, terms, fence).await.unwrap() {
            DropOutcome::Busy => {}
            outcome => return outcome,
        }
    }
}

/// A drop that was allowed is finished, whatever is to be kept by then: SQLite empties tables step
/// by step, and half a table must not come back.
pub async fn what_was_half_emptied_does_not_come_back(store: Store) {
    let (name, fence) = (type_name("work"), lead(&store, "g1").await);
    for _ in 0..3 {
        fill_finished(&store, &name, "ann", &Labels::new(), 1_000).await.unwrap();
    }
    store.roll_shard(&name, Some(&fence)).await.unwrap();
    let shard = store.drain_shards(None, &fence).await.unwrap().drained.remove(0);
    let dir = tempfile::tempdir().unwrap();
    let governor = another(&store, dir.path()).await;
    stopped_at(&governor, dir.path(), "drop.emptied", &shard, &fence).await.kill().await;
    governor.close().await;
    let next = lead(&store, "g2").await;
    if states(&store).await != [Gone, Open] {
        let outcome = store.drop_shard(&shard, NONE, &next).await.unwrap();
        assert!(matches!(outcome, DropOutcome::Dropped { .. }), "{outcome:?}");
    }
    assert_eq!(states(&store).await, [Gone, Open]);
}

pub async fn an_older_leader_changes_nothing(store: Store) {
    let (task, old) = drained(&store).await;
    let new = lead(&store, "g2").await;
    let name = type_name("work");
    let refused = store.roll_shard(&name, Some(&old)).await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    let refused = store.drop_shard(&task.id.shard, ALL, &old).await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    assert_eq!(states(&store).await, [Drained, Open]);

    // The lead is lost in the middle of a drop: nothing is dropped any more.
    let dir = tempfile::tempdir().unwrap();
    let governor = another(&store, dir.path()).await;
    let dropping = stopped_at(&governor, dir.path(), "drop.allowed", &task.id.shard, &new).await;
    let newest = lead(&store, "g3").await;
    let refused = dropping.answer().await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    assert_eq!(states(&store).await, [Dropping, Open]);
    governor.close().await;
    assert_eq!(store.drop_shard(&task.id.shard, ALL, &newest).await.unwrap(), DROPPED);
}

/// A broker that was about to make a shard's tables and stands still until that shard has lived and
/// gone: it makes none, and its task goes where new tasks go by then. Without the guard it does.
pub async fn a_dropped_shard_is_not_made_again(store: Store) {
    let fence = lead(&store, "g1").await;
    for guard_is_off in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        if guard_is_off {
            std::fs::write(dir.path().join("roll.looks_again.off"), "").unwrap();
        }
        let broker = another(&store, dir.path()).await;
        let stop = Stop::at(dir.path(), "roll.registered");
        let name = type_name(if guard_is_off { "unguarded" } else { "guarded" });
        let opening = tokio::spawn({
            let (broker, name) = (broker.clone(), name.clone());
            async move { broker.open_shard(&name).await.unwrap() }
        });
        stop.reached().await;
        let gone = store.open_shard(&name).await.unwrap();
        let open = store.roll_shard(&name, Some(&fence)).await.unwrap();
        assert_eq!(store.drain_shards(None, &fence).await.unwrap().drained.len(), 1);
        let dropped = store.drop_shard(&gone, ALL, &fence).await.unwrap();
        assert_eq!(dropped, DropOutcome::Dropped { rows: 0 });
        stop.release();
        assert_eq!(opening.await.unwrap(), open);
        let is_there = store.shard_sizes().await.unwrap().contains_key(&gone);
        assert_eq!(is_there, guard_is_off);
        broker.close().await;
    }
}

/// A transaction that has read the table and does not end; SQLite's readers are in nobody's way.
pub async fn a_reader_makes_the_drop_give_up(store: Store) {
    let (task, fence) = drained(&store).await;
    if store.backend() == Backend::Sqlite {
        return;
    }
    let terms = archived_terms(&store, &task, &fence).await;
    let reader = store.hold_read(&task.id.shard).await.unwrap();
    let outcome = store.drop_shard(&task.id.shard, terms, &fence).await.unwrap();
    assert_eq!(outcome, DropOutcome::Busy);
    assert_eq!(states(&store).await, [Drained, Open]);
    assert_eq!(store.get(&task.id, Parts::NONE).await.unwrap().task.state, TaskState::Succeeded);
    insert_one(&store).await;
    finish(&store).await;
    drop(reader);
    // Its archive is as good as it was.
    assert_eq!(dropped_at_last(&store, &task.id.shard, terms, &fence).await, DROPPED);
}

/// As if the shard of this one task had been archived.
async fn archived_terms(store: &Store, task: &Task, fence: &LeaderFence) -> DropTerms {
    let shards = store.list_shards(Some(&task.id.shard.task_type)).await.unwrap();
    let version = shards.iter().find(|known| known.id == task.id.shard).unwrap().version;
    store.set_archive(&task.id.shard, version, "file:///a/manifest.json", fence).await.unwrap();
    DropTerms { archived: Some(Archived { version, last_key: Some(task.id.key) }), ..ALL }
}

/// Killed right after the registry said DROPPING; then a task of the shard is retried and ends
/// again, so that its archive is out of date.
pub async fn what_came_into_a_drop_that_was_only_begun_is_looked_at(store: Store) {
    let (task, fence) = drained(&store).await;
    let shard = &task.id.shard;
    let terms = archived_terms(&store, &task, &fence).await;
    let dir = tempfile::tempdir().unwrap();
    let governor = another(&store, dir.path()).await;
    stopped_at(&governor, dir.path(), "drop.begun", shard, &fence).await.kill().await;
    governor.close().await;
    assert_eq!(states(&store).await, [Dropping, Open]);
    apply(&store, &task.id, Event::retry(false)).await.unwrap();
    apply(&store, &task.id, Event::Cancel { message: String::new() }).await.unwrap();

    let next = lead(&store, "g2").await;
    let kept = dropped_at_last(&store, shard, terms, &next).await;
    assert_eq!(kept, DropOutcome::Kept { live: false });
    assert_eq!(states(&store).await, [Drained, Open]);
    let terms = archived_terms(&store, &task, &next).await;
    assert_eq!(dropped_at_last(&store, shard, terms, &next).await, DROPPED);
}

/// A broker that has read the registry a moment before a shard was dropped.
pub async fn an_old_view_of_a_dropped_shard_costs_no_look(store: Store) {
    let task = done(&store).await;
    let (name, fence) = (type_name("work"), lead(&store, "g1").await);
    store.roll_shard(&name, Some(&fence)).await.unwrap();
    let broker = Store::connect(&StoreOptions::new(store.url())).await.unwrap();
    assert_eq!(broker.active_shards(&name).await.unwrap().len(), 2);
    store.drain_shards(None, &fence).await.unwrap();
    assert_eq!(dropped_at_last(&store, &task.id.shard, ALL, &fence).await, DROPPED);
    assert_eq!(broker.next_due_ms(&name).await.unwrap(), None);
    assert_eq!(broker.promote_due(&name, 10).await.unwrap(), []);
    broker.close().await;
}

struct Drop {
    stop: Stop,
    task: tokio::task::JoinHandle<Result<DropOutcome, StoreError>>,
}

impl Drop {
    async fn answer(self) -> Result<DropOutcome, StoreError> {
        self.stop.release();
        self.task.await.unwrap()
    }

    async fn go_on(self) -> DropOutcome {
        self.answer().await.unwrap()
    }

    /// It never comes back.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        self.stop.release();
    }
}

async fn stopped_at(
    governor: &Store,
    dir: &Path,
    point: &str,
    shard: &ShardId,
    fence: &LeaderFence,
) -> Drop {
    let stop = Stop::at(dir, point);
    let (store, shard, fence) = (governor.clone(), shard.clone(), fence.clone());
    let task = tokio::spawn(async move {
        loop {
            match store.drop_shard(&shard, ALL, &fence).await {
                // The lock of one that was killed a moment ago.
                Ok(DropOutcome::Busy) => {}
                outcome => return outcome,
            }
        }
    });
    while !task.is_finished() && !stop.is_reached() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Drop { stop, task }
}

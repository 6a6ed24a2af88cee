//! Schedules when somebody stops at a bad moment, and when two do the same.

use std::time::Duration;

use asyncflow_core::{
    schedule::{ScheduleState, spec::Overlap},
    state::TaskState,
};
use asyncflow_store::{DropOutcome, DropTerms, Store, StoreError, testing::spoil_schedule};

use super::{
    fault::{Stop, another, switch_off},
    fixture::{finish, get, type_name},
    schedule_fixture::{MINUTE_MS, create, fire, minutely, runs, schedule},
};

pub async fn two_governors_fire_each_time_once(store: Store) {
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(create(&store, &minutely(Overlap::Allow)).await);
    }
    let last_ms = ids.iter().map(|(_, first_ms)| *first_ms).max().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (another(&store, dir.path()).await, another(&store, dir.path()).await);
    let mut made = 0;
    for minute in 0..5 {
        let now_ms = last_ms + minute * MINUTE_MS;
        let (one, two) = tokio::join!(fire(&one, now_ms), fire(&two, now_ms));
        made += one.len() + two.len();
    }
    let mut fired = 0;
    for (id, first_ms) in ids {
        let expected = (last_ms + 4 * MINUTE_MS - first_ms) / MINUTE_MS + 1;
        assert_eq!(runs(&store, id).await.len() as i64, expected);
        fired += expected;
    }
    assert_eq!(made as i64, fired);
    let counts = store.counts(&Default::default()).await.unwrap();
    assert_eq!(counts.iter().map(|count| count.tasks).sum::<i64>(), fired);
    one.close().await;
    two.close().await;
}

pub async fn who_dies_before_the_commit_leaves_it_to_the_next(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    let dir = tempfile::tempdir().unwrap();
    let dying = another(&store, dir.path()).await;
    let stop = Stop::at(dir.path(), "schedule.fired");
    let firing = tokio::spawn({
        let dying = dying.clone();
        async move { dying.fire_due(first_ms, 500, None).await }
    });
    stop.reached().await;
    assert_eq!(schedule(&store, id).await.standing.next_ms, Some(first_ms), "not committed");
    firing.abort();
    assert!(firing.await.unwrap_err().is_cancelled());
    assert_eq!(fire(&store, first_ms).await.len(), 1);
    assert_eq!(runs(&store, id).await.len(), 1);
    stop.release();
    // It has only been stopped for a while, and comes back with what it knew.
    assert!(fire(&dying, first_ms).await.is_empty());
    dying.close().await;
}

pub async fn what_was_paused_since_the_look_does_not_fire(store: Store) {
    for guard_is_off in [false, true] {
        let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
        let dir = tempfile::tempdir().unwrap();
        if guard_is_off {
            switch_off(dir.path(), "schedule.version");
        }
        let slow = another(&store, dir.path()).await;
        let stop = Stop::at(dir.path(), "schedule.planned");
        let firing = tokio::spawn({
            let slow = slow.clone();
            async move { slow.fire_due(first_ms, 500, None).await }
        });
        stop.reached().await;
        store.pause_schedule(id).await.unwrap();
        stop.release();
        let fired = firing.await.unwrap().unwrap();
        assert_eq!(fired.made.len(), usize::from(guard_is_off), "off: {guard_is_off}");
        assert_eq!(runs(&store, id).await.len(), usize::from(guard_is_off));
        assert_eq!(schedule(&store, id).await.standing.state, ScheduleState::Paused);
        slow.close().await;
    }
}

pub async fn what_was_paused_since_the_look_cancels_nothing(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::CancelRunning)).await;
    let running = fire(&store, first_ms).await.remove(0);
    let dir = tempfile::tempdir().unwrap();
    let slow = another(&store, dir.path()).await;
    let stop = Stop::at(dir.path(), "schedule.planned");
    let firing = tokio::spawn({
        let slow = slow.clone();
        async move { slow.fire_due(first_ms + MINUTE_MS, 500, None).await }
    });
    stop.reached().await;
    store.pause_schedule(id).await.unwrap();
    stop.release();
    assert!(firing.await.unwrap().unwrap().made.is_empty());
    assert_eq!(get(&store, &running.id).await.task.state, TaskState::Pending);
    slow.close().await;
}

pub async fn an_older_term_fires_nothing(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    let old = store.try_lead("g1", -1).await.unwrap().unwrap();
    let new = store.try_lead("g2", 60_000).await.unwrap().unwrap();
    let refused = store.fire_due(first_ms, 500, Some(&old)).await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    assert!(runs(&store, id).await.is_empty());
    let fired = store.fire_due(first_ms, 500, Some(&new)).await.unwrap();
    assert_eq!(fired.made.len(), 1);
}

pub async fn a_back_fill_and_the_governor_fire_each_time_once(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    let times: Vec<i64> = (0..=40).map(|minute| first_ms + minute * MINUTE_MS).collect();
    let now_ms = first_ms + 40 * MINUTE_MS;
    let (fired, one, two) = tokio::join!(
        fire(&store, now_ms),
        store.backfill_schedule(id, &times),
        store.backfill_schedule(id, &times),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(fired.len() + one.made.len() + two.made.len(), 41);
    assert_eq!(runs(&store, id).await.len(), 41);
    assert_eq!(schedule(&store, id).await.standing.fired, 41);
    fire(&store, now_ms).await;
    assert_eq!(runs(&store, id).await.len(), 41);
}

/// What is made goes where tasks go now, though the governor knows it otherwise.
pub async fn a_shard_that_was_dropped_meanwhile_is_left_for_the_next(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    let dir = tempfile::tempdir().unwrap();
    let slow = another(&store, dir.path()).await;
    let first = fire(&slow, first_ms).await.remove(0);
    finish(&store).await;
    let fence = store.try_lead("g1", -1).await.unwrap().unwrap();
    let stop = Stop::at(dir.path(), "schedule.planned");
    let firing = tokio::spawn({
        let slow = slow.clone();
        async move { fire(&slow, first_ms + MINUTE_MS).await }
    });
    stop.reached().await;
    store.roll_shard(&type_name("work"), Some(&fence)).await.unwrap();
    assert_eq!(store.drain_shards(None, &fence).await.unwrap().drained.len(), 1);
    let terms = DropTerms { before_ms: i64::MAX, archived: None };
    let dropped = store.drop_shard(&first.id.shard, terms, &fence).await.unwrap();
    assert_eq!(dropped, DropOutcome::Dropped { rows: 1 });
    stop.release();
    let made = firing.await.unwrap().remove(0);
    assert_eq!(made.id.shard.number, first.id.shard.number + 1);
    assert_eq!(finish(&store).await.id, made.id);
    assert_eq!(runs(&store, id).await.len(), 2);
    slow.close().await;
}

/// A row that no version of this program has written.
pub async fn a_schedule_that_cannot_be_read_harms_no_other(store: Store) {
    let (bad, _) = create(&store, &minutely(Overlap::Allow)).await;
    let (good, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    spoil_schedule(&store, bad).await;
    let looked = tokio::time::timeout(Duration::from_secs(60), fire(&store, first_ms)).await;
    assert_eq!(looked.expect("it comes to an end").len(), 1);
    assert_eq!(runs(&store, good).await.len(), 1);
    assert!(runs(&store, bad).await.is_empty());
}

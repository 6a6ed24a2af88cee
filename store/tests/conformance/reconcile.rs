//! The counts are compared with the rows and repaired.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use asyncflow_core::{
    create::NewTask,
    id::ShardId,
    state::TaskState::{self, Pending, Running, Succeeded},
};
use asyncflow_store::{
    CompareLimits, Compared, Comparison, Drift, LeaderFence, Store, StoreError, testing::add_drift,
};

use super::fixture::{
    apply, check_counts, claim, complete, insert_all, insert_one, new_task, running, start,
    type_name,
};

/// A page is full, the next one is not, or is empty.
const PAGE_ROWS: u32 = 3;
const WRITERS: usize = 4;
const ROUNDS: usize = 12;

fn limits() -> CompareLimits {
    CompareLimits { page_rows: PAGE_ROWS, snapshot_max: Duration::from_secs(60) }
}

async fn compare(store: &Store, shard: &ShardId) -> Comparison {
    match store.compare_counts(shard, limits()).await.unwrap() {
        Compared::Whole(comparison) => comparison,
        other => panic!("{other:?}"),
    }
}

async fn lead(store: &Store) -> LeaderFence {
    store.try_lead("g1", 60_000).await.unwrap().unwrap()
}

fn of_user(user: &str) -> NewTask {
    NewTask { user: user.into(), ..new_task("one") }
}

fn drift(user: &str, state: TaskState, counted: i64, found: i64) -> Drift {
    Drift { user: user.into(), state, counted, found }
}

pub async fn drifts_are_found_and_repaired_exactly(store: Store) {
    let fence = lead(&store).await;
    let other = NewTask { task_type: type_name("other"), ..new_task("other") };
    insert_all(&store, [other]).await;
    insert_all(&store, (0..5).map(|_| of_user("ann"))).await;
    let task = insert_all(&store, [of_user("bob")]).await.remove(0);
    let shard = task.id.shard;
    assert_eq!(compare(&store, &shard).await.drifts, []);

    for (user, state, by) in [
        ("ann", Pending, 3),
        // As if the row was not there.
        ("bob", Pending, -1),
        ("cid", Pending, 7),
        ("cid", Running, -2),
    ] {
        add_drift(&store, &shard, user, state, by).await;
    }
    let comparison = compare(&store, &shard).await;
    assert_eq!(comparison.rows, 6);
    let expected = [
        drift("ann", Pending, 8, 5),
        drift("bob", Pending, 0, 1),
        drift("cid", Running, -2, 0),
        drift("cid", Pending, 7, 0),
    ];
    let mut drifts = comparison.drifts.clone();
    drifts.sort_by_key(|drift| (drift.user.clone(), drift.counted));
    assert_eq!(drifts.len(), expected.len());
    assert!(expected.iter().all(|drift| drifts.contains(drift)), "{drifts:?}");
    assert!(store.repair_counts(&comparison, &fence).await.unwrap());
    check_counts(&store).await;
    let after = compare(&store, &shard).await;
    assert_eq!((after.drifts, after.version), (vec![], comparison.version + 1));
}

pub async fn what_was_written_since_the_look_stays_counted(store: Store) {
    let fence = lead(&store).await;
    let full = running(&store, 1).await;
    let shard = full.task.id.shard.clone();
    add_drift(&store, &shard, "ann", Running, 4).await;
    let comparison = compare(&store, &shard).await;
    apply(&store, &full.task.id, complete(&full.task, 1)).await.unwrap();
    insert_one(&store).await;
    assert!(store.repair_counts(&comparison, &fence).await.unwrap());
    check_counts(&store).await;
    assert_eq!(compare(&store, &shard).await.drifts, []);
}

pub async fn of_two_who_saw_the_same_drift_one_repairs(store: Store) {
    let fence = lead(&store).await;
    let shard = insert_one(&store).await.id.shard;
    add_drift(&store, &shard, "ann", Pending, 4).await;
    let (one, two) = (compare(&store, &shard).await, compare(&store, &shard).await);
    assert_eq!(one, two);
    let (one, two) =
        tokio::join!(store.repair_counts(&one, &fence), store.repair_counts(&two, &fence));
    assert_ne!(one.unwrap(), two.unwrap());
    check_counts(&store).await;
}

pub async fn an_older_term_repairs_nothing(store: Store) {
    let old = lead(&store).await;
    let shard = insert_one(&store).await.id.shard;
    add_drift(&store, &shard, "ann", Succeeded, 4).await;
    let before = compare(&store, &shard).await;
    let new = lead(&store).await;
    let refused = store.repair_counts(&before, &old).await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    assert_eq!(compare(&store, &shard).await, before);
    assert!(store.repair_counts(&before, &new).await.unwrap());
}

pub async fn a_shard_that_moved_on_is_not_repaired(store: Store) {
    let fence = lead(&store).await;
    let shard = insert_one(&store).await.id.shard;
    add_drift(&store, &shard, "ann", Pending, 4).await;
    let before = compare(&store, &shard).await;
    store.roll_shard(&shard.task_type, Some(&fence)).await.unwrap();
    assert!(!store.repair_counts(&before, &fence).await.unwrap());
    let closed = compare(&store, &shard).await;
    assert_eq!(closed.drifts, before.drifts);
    assert!(store.repair_counts(&closed, &fence).await.unwrap());

    let never = ShardId { number: 9, ..shard.clone() };
    assert_eq!(store.compare_counts(&never, limits()).await.unwrap(), Compared::Unreadable);
    let hurried = CompareLimits { snapshot_max: Duration::ZERO, ..limits() };
    let given_up = store.compare_counts(&shard, hurried).await.unwrap();
    assert_eq!(given_up, Compared::TooLong { rows: 0 });
    // The connection that was left in the middle of it serves the next.
    assert_eq!(compare(&store, &shard).await.drifts, []);
}

/// A look that is no snapshot sees drifts here that there are not.
pub async fn writers_cause_no_drift(store: Store) {
    let shard = insert_one(&store).await.id.shard;
    let ended = Arc::new(AtomicUsize::new(0));
    let writers = (1..=WRITERS).map(|writer| {
        let (store, ended) = (store.clone(), ended.clone());
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                write_once(&store, writer as i64).await;
            }
            ended.fetch_add(1, Ordering::SeqCst);
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut last = false;
    while !last {
        last = ended.load(Ordering::SeqCst) == WRITERS || writers.iter().all(|w| w.is_finished());
        assert_eq!(compare(&store, &shard).await.drifts, []);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = compare(&store, &shard).await.rows;
    assert_eq!(rows, 1 + (WRITERS * ROUNDS * 6) as i64);
}

/// Some stay PENDING, some CLAIMED, some are completed.
async fn write_once(store: &Store, session_id: i64) {
    insert_all(store, ["ann", "bob", "cid", "ann", "bob", "cid"].map(of_user)).await;
    let mut leased = claim(store, session_id, 4).await.leased;
    leased.truncate(2);
    for full in leased.into_iter().map(|leased| leased.task) {
        apply(store, &full.task.id, start(&full.task)).await.unwrap();
        apply(store, &full.task.id, complete(&full.task, 1)).await.unwrap();
    }
}

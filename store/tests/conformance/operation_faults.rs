//! Operations when those who carry them out die, stop for a while, or are many.

use std::time::Duration;

use asyncflow_core::{
    operation::{OperationKind, OperationState, Tally},
    state::TaskState,
};
use asyncflow_store::{Advance, Backend, OperationLease, Store, testing::refuse_changes};

use super::{
    fault::{Stop, another, switch_off},
    fixture::all_tasks,
    operation_fixture::{LEASE_MS, begin, find, finish, in_state, insert, new, take, tally},
};

type Page = tokio::task::JoinHandle<Result<Advance, asyncflow_store::StoreError>>;

fn page(store: &Store, lease: OperationLease, rows: u32) -> Page {
    let store = store.clone();
    tokio::spawn(async move { store.advance_operation(&lease, rows, LEASE_MS).await })
}

/// Every task was changed once: created it has revision 1, cancelled 2.
async fn each_was_changed_once(store: &Store) {
    for full in all_tasks(store, &Default::default()).await {
        assert_eq!((full.task.state, full.task.revision), (TaskState::Cancelled, 2), "{full:?}");
    }
}

pub async fn one_at_a_time_takes_an_operation(store: Store) {
    insert(&store, 3).await;
    begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let takers = (0..4).map(|n| {
        let store = store.clone();
        async move { store.take_operations(&format!("b{n}"), LEASE_MS, 5).await.unwrap().len() }
    });
    let taken: usize = futures::future::join_all(takers).await.into_iter().sum();
    assert_eq!(taken, 1);
    assert!(store.take_operations("late", LEASE_MS, 5).await.unwrap().is_empty());
}

pub async fn who_gives_it_back_need_not_be_waited_for(store: Store) {
    insert(&store, 3).await;
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let first = take(&store, LEASE_MS).await;
    store.advance_operation(&first, 2, LEASE_MS).await.unwrap();
    store.release_operation(&first).await.unwrap();
    let second = take(&store, LEASE_MS).await;
    // The former holder has nothing to say any more.
    let late = store.advance_operation(&first, 2, LEASE_MS).await.unwrap();
    assert_eq!(late, Advance::Over { ready: vec![] });
    store.fail_operation(&first, "late").await.unwrap();
    store.release_operation(&first).await.unwrap();
    finish(&store, &second, 2).await;
    let operation = find(&store, id).await;
    assert_eq!((operation.state, operation.tally), (OperationState::Succeeded, tally(3, 3, 0)));
    each_was_changed_once(&store).await;
}

/// The holder dies within the transaction of a page: the page is not done, and whoever takes over
/// does it.
pub async fn a_page_is_done_as_a_whole_or_not_at_all(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    insert(&store, 9).await;
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let dying = another(&store, dir.path()).await;
    let lease = take(&dying, -1).await;
    // Its lease runs out at once.
    let advance = dying.advance_operation(&lease, 3, -1).await.unwrap();
    assert!(matches!(advance, Advance::On { .. }));
    let stop = Stop::at(dir.path(), "operation.written");
    let doomed = page(&dying, lease, 3);
    stop.reached().await;
    doomed.abort();
    assert!(doomed.await.is_err());
    stop.release();
    dying.close().await;

    assert_eq!(find(&store, id).await.tally, tally(3, 3, 0));
    assert_eq!(in_state(&store, TaskState::Cancelled).await, 3);
    let lease = take(&store, LEASE_MS).await;
    finish(&store, &lease, 3).await;
    let operation = find(&store, id).await;
    assert_eq!((operation.state, operation.tally), (OperationState::Succeeded, tally(9, 9, 0)));
    each_was_changed_once(&store).await;
}

/// The holder stops between the list and the transaction of a page, longer than its lease.
pub async fn a_holder_that_comes_back_late_is_fenced_off(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    for guard_is_off in [false, true] {
        if guard_is_off {
            switch_off(dir.path(), "operation.epoch");
        }
        let before = in_state(&store, TaskState::Cancelled).await as i64;
        insert(&store, 9).await;
        let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
        let late = another(&store, dir.path()).await;
        let lease = take(&late, -1).await;
        let stop = Stop::at(dir.path(), "operation.listed");
        let stopped = page(&late, lease, 3);
        stop.reached().await;
        // Another takes over and does the same page and the next one.
        let other = take(&store, LEASE_MS).await;
        for _ in 0..2 {
            let advance = store.advance_operation(&other, 3, LEASE_MS).await.unwrap();
            assert!(matches!(advance, Advance::On { .. }));
        }
        stop.release();
        let advance = stopped.await.unwrap().unwrap();
        let operation = find(&store, id).await;
        if guard_is_off {
            assert_eq!(operation.tally, tally(9, 6, 3), "without the fence it counts twice");
        } else {
            assert_eq!(advance, Advance::Over { ready: vec![] });
            assert_eq!(operation.tally, tally(6, 6, 0));
        }
        finish(&store, &other, 3).await;
        let after = in_state(&store, TaskState::Cancelled).await as i64;
        assert_eq!(after, before + 9);
        each_was_changed_once(&store).await;
        late.close().await;
    }
}

/// A page whose COMMIT was not answered: whoever asks again goes on behind it.
pub async fn a_page_that_was_done_is_not_done_again(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    insert(&store, 6).await;
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let slow = another(&store, dir.path()).await;
    let lease = take(&slow, LEASE_MS).await;
    let stop = Stop::at(dir.path(), "operation.listed");
    let first = page(&slow, lease, 3);
    stop.reached().await;
    // The same holder, under the same lease, has done that page meanwhile.
    let advance = store.advance_operation(&lease, 3, LEASE_MS).await.unwrap();
    assert!(matches!(advance, Advance::On { .. }));
    stop.release();
    assert_eq!(first.await.unwrap().unwrap(), Advance::On { ready: vec![] });
    assert_eq!(find(&store, id).await.tally, tally(3, 3, 0));
    finish(&store, &lease, 3).await;
    assert_eq!(find(&store, id).await.tally, tally(6, 6, 0));
    slow.close().await;
}

/// A cancel waits for the page that is being committed, and nothing follows.
pub async fn a_cancelled_operation_changes_nothing_more(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    insert(&store, 9).await;
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let other = another(&store, dir.path()).await;
    let lease = take(&other, LEASE_MS).await;
    other.advance_operation(&lease, 3, LEASE_MS).await.unwrap();
    let stop = Stop::at(dir.path(), "operation.listed");
    let stopped = page(&other, lease, 3);
    stop.reached().await;
    let cancelled = store.cancel_operation(id).await.unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.tally), (OperationState::Cancelled, tally(3, 3, 0)));
    stop.release();
    assert_eq!(stopped.await.unwrap().unwrap(), Advance::Over { ready: vec![] });
    assert!(store.take_operations("b", LEASE_MS, 9).await.unwrap().is_empty());
    assert_eq!(find(&store, id).await, cancelled);
    assert_eq!(store.cancel_operation(id).await.unwrap().unwrap(), cancelled, "it is over");
    assert_eq!(in_state(&store, TaskState::Cancelled).await, 3);
    other.close().await;
}

/// A page that is being written when the cancel comes is done before it.
pub async fn a_cancel_comes_before_or_after_a_page(store: Store) {
    // There the writer is alone in any case.
    if store.backend() == Backend::Sqlite {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    insert(&store, 9).await;
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let other = another(&store, dir.path()).await;
    let lease = take(&other, LEASE_MS).await;
    let stop = Stop::at(dir.path(), "operation.written");
    let writing = page(&other, lease, 3);
    stop.reached().await;
    let cancel = {
        let store = store.clone();
        tokio::spawn(async move { store.cancel_operation(id).await })
    };
    // It waits for the row.
    let early = tokio::time::timeout(Duration::from_millis(100), async {
        while !cancel.is_finished() {
            tokio::task::yield_now().await;
        }
    });
    assert!(early.await.is_err(), "the cancel did not wait");
    stop.release();
    assert!(matches!(writing.await.unwrap().unwrap(), Advance::On { .. }));
    let cancelled = cancel.await.unwrap().unwrap().unwrap();
    assert_eq!((cancelled.state, cancelled.tally), (OperationState::Cancelled, tally(3, 3, 0)));
    assert_eq!(in_state(&store, TaskState::Cancelled).await, 3);
    other.close().await;
}

/// The database refuses to change one task: it is left out, and the others are changed.
pub async fn a_broken_row_is_left_out_and_told(store: Store) {
    let tasks = insert(&store, 9).await;
    refuse_changes(&store, &tasks[4].id).await.unwrap();
    let id = begin(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let lease = take(&store, LEASE_MS).await;
    finish(&store, &lease, 4).await;
    let operation = find(&store, id).await;
    assert_eq!(operation.state, OperationState::Failed);
    assert_eq!(operation.tally, Tally { failed: 1, ..tally(9, 8, 0) });
    assert_eq!(operation.error.as_deref(), Some("1 task could not be changed"));
    assert_eq!(operation.issues[0].task_id, tasks[4].id.to_string());
    assert_eq!(in_state(&store, TaskState::Cancelled).await, 8);
    assert_eq!(in_state(&store, TaskState::Pending).await, 1);
}

/// Two brokers carry out two operations on the same tasks: each task is changed once.
pub async fn two_operations_on_the_same_tasks_get_along(store: Store) {
    insert(&store, 40).await;
    let ids = [
        begin(&store, &new(OperationKind::Cancel, "user = ann")).await,
        begin(&store, &new(OperationKind::Cancel, "task_type = work")).await,
    ];
    let leases = store.take_operations("b", LEASE_MS, 2).await.unwrap();
    let work = leases.iter().map(|lease| finish(&store, lease, 7));
    futures::future::join_all(work).await;
    let (one, two) = (find(&store, ids[0]).await, find(&store, ids[1]).await);
    assert_eq!(one.tally.changed + two.tally.changed, 40, "{one:?} {two:?}");
    for operation in [one, two] {
        let tally = operation.tally;
        assert_eq!((tally.matched, tally.failed), (tally.changed + tally.skipped, 0));
        assert_eq!(operation.state, OperationState::Succeeded);
    }
    each_was_changed_once(&store).await;
}

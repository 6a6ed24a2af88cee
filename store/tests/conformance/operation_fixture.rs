//! What the checks of operations share.

use asyncflow_core::{
    create::NewTask,
    filter::Filter,
    id::OperationId,
    operation::{NewOperation, OperationKind, Tally},
    state::TaskState,
    task::Task,
};
use asyncflow_store::{Advance, Operation, OperationLease, Store};

use super::fixture::{all_tasks, apply, claim, complete, fail, insert_all, new_task, start};

pub const LEASE_MS: i64 = 60_000;

pub fn new(kind: OperationKind, filter: &str) -> NewOperation {
    NewOperation {
        kind,
        user: "ann".into(),
        filter: filter.into(),
        only_user: None,
        changes_max: None,
        message: "in bulk".into(),
        from_start: false,
        request_id: None,
    }
}

pub async fn begin(store: &Store, new: &NewOperation) -> OperationId {
    store.create_operation(new, 16).await.unwrap().operation.id
}

pub async fn take(store: &Store, ttl_ms: i64) -> OperationLease {
    let mut taken = store.take_operations("b", ttl_ms, 1).await.unwrap();
    assert_eq!(taken.len(), 1, "there is one to be taken");
    taken.remove(0)
}

/// Carries one on to its end, a few tasks at a time; tells how many pages that were.
pub async fn finish(store: &Store, lease: &OperationLease, rows: u32) -> usize {
    for pages in 1..1_000 {
        let advance = store.advance_operation(lease, rows, LEASE_MS).await.unwrap();
        if matches!(advance, Advance::Over { .. }) {
            return pages;
        }
    }
    panic!("it comes to no end");
}

/// Carries out a whole operation.
pub async fn carry_out(store: &Store, new: &NewOperation) -> Operation {
    let id = begin(store, new).await;
    let lease = take(store, LEASE_MS).await;
    finish(store, &lease, 3).await;
    find(store, id).await
}

pub async fn find(store: &Store, id: OperationId) -> Operation {
    store.find_operation(id).await.unwrap().unwrap()
}

pub fn tally(matched: i64, changed: i64, skipped: i64) -> Tally {
    Tally { matched, changed, skipped, failed: 0 }
}

pub async fn states(store: &Store) -> Vec<TaskState> {
    all_tasks(store, &Filter::default()).await.into_iter().map(|full| full.task.state).collect()
}

pub async fn in_state(store: &Store, state: TaskState) -> usize {
    states(store).await.into_iter().filter(|of| *of == state).count()
}

pub async fn insert(store: &Store, count: usize) -> Vec<Task> {
    insert_all(store, (0..count).map(|n| new_task(&n.to_string()))).await
}

/// Tasks of a user.
pub fn of_user(user: &str, name: &str) -> NewTask {
    NewTask { user: user.into(), ..new_task(name) }
}

/// So many tasks that run, so many that have succeeded, and so many that have failed for good.
pub async fn ended(store: &Store, succeeded: usize, failed: usize) {
    let new = (0..succeeded + failed).map(|n| {
        let mut new = new_task(&n.to_string());
        new.retry.max_retries = Some(0);
        new
    });
    insert_all(store, new).await;
    let leased = claim(store, 1, (succeeded + failed) as u32).await.leased;
    assert_eq!(leased.len(), succeeded + failed);
    for (at, leased) in leased.into_iter().enumerate() {
        let task = leased.task.task;
        apply(store, &task.id, start(&task)).await.unwrap();
        let end = if at < succeeded { complete(&task, 7) } else { fail(&task, 7) };
        apply(store, &task.id, end).await.unwrap();
    }
}

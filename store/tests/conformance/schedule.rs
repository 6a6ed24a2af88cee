//! Tasks that wait for a time.

use asyncflow_core::state::TaskState;
use asyncflow_store::Store;

use super::fixture::{claim, get, insert_all, new_task, type_name};

pub async fn due_tasks_are_promoted(store: Store) {
    let now_ms = store.now_ms().await.unwrap();
    let mut soon = new_task("soon");
    soon.not_before_ms = Some(now_ms + 300);
    soon.priority = Some(1_000);
    let mut late = new_task("late");
    late.not_before_ms = Some(now_ms + 3_600_000);
    let tasks = insert_all(&store, [soon, late]).await;
    let name = type_name("work");
    assert_eq!(store.next_due_ms(&name).await.unwrap(), Some(now_ms + 300));
    // No priority makes it start early.
    assert!(claim(&store, 1, 10).await.leased.is_empty());
    let promoted = loop {
        let promoted = store.promote_due(&name, 10).await.unwrap();
        if !promoted.is_empty() {
            break promoted;
        }
    };
    assert_eq!(promoted.len(), 1);
    assert_eq!(promoted[0].order_time_ms, now_ms + 300 - 1_000_000);
    assert_eq!(get(&store, &tasks[0].id).await.task, promoted[0]);
    assert_eq!(get(&store, &tasks[1].id).await.task.state, TaskState::Scheduled);
    assert_eq!(store.next_due_ms(&name).await.unwrap(), Some(now_ms + 3_600_000));
    assert_eq!(store.next_due_ms(&type_name("nothing")).await.unwrap(), None);
    assert_eq!(claim(&store, 1, 10).await.leased.len(), 1);
}

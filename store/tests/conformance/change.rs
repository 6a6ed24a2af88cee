//! The change log.

use asyncflow_core::{
    event::{Event, TaskPatch},
    state::TaskState,
    task::Labels,
};
use asyncflow_store::{ChangeTail, Store};
use sea_orm::{ConnectionTrait, Database};

use super::fixture::{LEASE_MS, apply, complete, fence, insert_one, running};

pub async fn a_tail_sees_every_edge_once(store: Store) {
    insert_one(&store).await;
    let mut tail = ChangeTail::new(&store, 0);
    let first = tail.next().await.unwrap().unwrap();
    assert_eq!(first.changes[0].from, None);
    let from_seq = store.last_change_seq().await.unwrap();
    assert_eq!(tail.seq(), from_seq);
    let task = running(&store, 1).await.task;
    let beat = Event::Heartbeat { fence: fence(&task), lease_ttl_ms: LEASE_MS };
    apply(&store, &task.id, beat).await.unwrap();
    apply(&store, &task.id, complete(&task, 1)).await.unwrap();
    store.delete(&task.id).await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = tail.next().await.unwrap() {
        assert!(row.seq > from_seq);
        seen.extend(row.changes.into_iter().filter(|c| c.task_id == task.id));
    }
    let edges: Vec<_> = seen.iter().map(|change| (change.from, change.to)).collect();
    use TaskState::{Pending, Running, Succeeded};
    let (pending, running, done) = (Some(Pending), Some(Running), Some(Succeeded));
    // The claim took the older task; its start is a change within RUNNING, its heartbeat is none.
    assert_eq!(edges, [(pending, running), (running, running), (running, done), (done, None)]);
    let later_ms = store.now_ms().await.unwrap() + 60_000;
    assert!(store.purge_changes(later_ms, 1_000, None).await.unwrap() > 0);
    assert_eq!(store.first_change_seq().await.unwrap(), None);
}

/// Labels and the result stand beside the row that a renewed lease changes.
pub async fn what_stands_beside_the_row_is_news(store: Store) {
    let task = running(&store, 1).await.task;
    let from_seq = store.last_change_seq().await.unwrap();
    let patch = TaskPatch { labels: Some(Labels::new()), ..TaskPatch::default() };
    apply(&store, &task.id, Event::Update(patch)).await.unwrap();
    apply(&store, &task.id, complete(&task, 1)).await.unwrap();
    apply(&store, &task.id, Event::ExpireResult).await.unwrap();
    let rows = store.changes_after(from_seq, 10).await.unwrap();
    let edges = rows.iter().flat_map(|row| &row.changes).map(|change| (change.from, change.to));
    let (running, done) = (Some(TaskState::Running), Some(TaskState::Succeeded));
    assert_eq!(edges.collect::<Vec<_>>(), [(running, running), (running, done), (done, done)]);
}

pub async fn a_hole_is_waited_for_and_then_passed(store: Store) {
    insert_one(&store).await;
    let mut tail = ChangeTail::new(&store, 0);
    assert!(tail.next().await.unwrap().is_some());
    insert_one(&store).await;
    let hole = store.last_change_seq().await.unwrap();
    let last = insert_one(&store).await;
    let now_ms = store.now_ms().await.unwrap();
    // What a transaction that is rolled back leaves: a number that never turns up.
    let db = Database::connect(store.url()).await.unwrap();
    let sql = format!("DELETE FROM change_log WHERE seq = {hole}");
    db.execute_unprepared(&sql).await.unwrap();
    assert_eq!(tail.next().await.unwrap(), None);
    assert!(tail.is_waiting());
    let row = loop {
        if let Some(row) = tail.next().await.unwrap() {
            break row;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(row.changes[0].task_id, last.id);
    assert!(store.now_ms().await.unwrap() >= now_ms + 1_500);
}

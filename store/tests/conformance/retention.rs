//! Deleting tasks.

use asyncflow_core::{filter::Filter, state::TaskState};
use asyncflow_store::{ApplyError, GetError, LogChunk, LogStream, Parts, Store};

use super::fixture::{
    all_tasks, apply, claim, complete, create, get, insert_all, insert_one, new_task, running,
    type_name,
};

pub async fn terminal_tasks_go_with_everything(store: Store) {
    let mut asked = new_task("asked");
    asked.request_id = Some("r".into());
    insert_all(&store, [asked.clone()]).await;
    insert_all(&store, (0..9).map(|n| new_task(&n.to_string()))).await;
    let claimed = claim(&store, 1, 6).await.leased;
    for leased in &claimed {
        let task = &leased.task.task;
        let chunk = LogChunk {
            task_id: task.id.clone(),
            attempt: 1,
            stream: LogStream::Stdout,
            offset: 0,
            time_ms: 0,
            bytes: b"hello".to_vec(),
        };
        store.append_log(&[chunk]).await.unwrap();
        apply(&store, &task.id, complete(task, 1)).await.unwrap();
    }
    let name = type_name("work");
    let now_ms = store.now_ms().await.unwrap();
    assert_eq!(store.delete_terminal_before(&name, now_ms - 60_000, 10, None).await.unwrap(), 0);
    let later_ms = now_ms + 60_000;
    assert_eq!(store.delete_terminal_before(&name, later_ms, 4, None).await.unwrap(), 4);
    assert_eq!(store.delete_terminal_before(&name, later_ms, 4, None).await.unwrap(), 2);
    let left = all_tasks(&store, &Filter::default()).await;
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|full| full.task.state == TaskState::Pending));
    let gone = &claimed[0].task.task.id;
    assert!(matches!(store.get(gone, Parts::NONE).await, Err(GetError::NotFound)));
    assert!(store.list_attempts(gone, 0, 10).await.unwrap().is_empty());
    assert!(store.read_log(gone, 1, 0, 100).await.unwrap().chunks.is_empty());
    // The request was answered by a task that is gone; it is not made again until it is forgotten.
    assert!(store.insert(vec![create(asked.clone())]).await[0].is_err());
    assert_eq!(store.purge_dedup(later_ms, 10, None).await.unwrap(), 1);
    assert!(store.insert(vec![create(asked)]).await[0].is_ok());
}

pub async fn a_leased_task_is_not_deleted(store: Store) {
    let held = running(&store, 1).await.task;
    let refused = store.delete(&held.id).await.unwrap_err();
    assert!(matches!(refused, ApplyError::Refused(..)));
    assert_eq!(get(&store, &held.id).await.task.state, TaskState::Running);
    let waiting = insert_one(&store).await;
    assert_eq!(store.delete(&waiting.id).await.unwrap().id, waiting.id);
    assert!(matches!(store.delete(&waiting.id).await, Err(ApplyError::NotFound)));
}

//! Creating tasks.

use asyncflow_core::{
    limits::{NAME_BYTES_MAX, USER_BYTES_MAX},
    state::TaskState,
    task::Labels,
};
use asyncflow_store::{InsertError, InsertRefusal, Store};

use super::fixture::{
    all_tasks, content, create, get, insert_all, insert_one, new_task, type_name,
};

pub async fn a_batch_is_created_in_order(store: Store) {
    let now_ms = store.now_ms().await.unwrap();
    let mut later = new_task("later");
    later.not_before_ms = Some(now_ms + 60_000);
    let mut other = new_task("other");
    other.task_type = type_name("other");
    other.user = "bob".into();
    other.name = "ü\u{0}—x".into();
    let tasks = insert_all(&store, [new_task("a"), later, other, new_task("b")]).await;
    let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["a", "later", "ü\u{0}—x", "b"]);
    assert!(tasks[0].id < tasks[3].id);
    assert_eq!(tasks[1].state, TaskState::Scheduled);
    assert_eq!(tasks[1].order_time_ms, now_ms + 60_000);
    assert_eq!(tasks[2].id.shard.to_owned().task_table(), "t_other_1");
    let stored = get(&store, &tasks[0].id).await;
    assert_eq!(stored.task, tasks[0]);
    assert_eq!(stored.body.payload, content("payload"));
    assert_eq!(stored.body.context, content("context"));
    assert_eq!(stored.body.result, None);
    assert_eq!(stored.body.labels, Labels::from([("team".into(), "vision".into())]));
    let clean = get(&store, &tasks[2].id).await;
    assert!(clean.task.name.starts_with('ü') && clean.task.name.ends_with("—x"));
}

pub async fn a_request_id_makes_one_task(store: Store) {
    let mut first = new_task("first");
    first.request_id = Some("r1".into());
    let mut other_content = first.clone();
    other_content.payload = content("other");
    let mut other_user = first.clone();
    other_user.user = "bob".into();
    let batch = vec![create(first.clone()), create(first.clone()), create(other_content.clone())];
    let mut answers = store.insert(batch).await.into_iter();
    let made = answers.next().unwrap().unwrap();
    assert!(!made.deduplicated);
    let again = answers.next().unwrap().unwrap();
    assert!(again.deduplicated);
    assert_eq!(again.task, made.task);
    let refusal = InsertRefusal::RequestIdReused { task_id: made.task.id.clone() };
    let is_refused = |answer| matches!(answer, Err(InsertError::Refused(r)) if r == refusal);
    assert!(is_refused(answers.next().unwrap()));
    let again_first = first.clone();
    let mut later = store
        .insert(vec![
            create(first),
            create(other_content),
            create(other_user),
            create(new_task("x")),
        ])
        .await
        .into_iter();
    assert_eq!(later.next().unwrap().unwrap().task.id, made.task.id);
    assert!(is_refused(later.next().unwrap()));
    assert!(!later.next().unwrap().unwrap().deduplicated);
    assert!(!later.next().unwrap().unwrap().deduplicated);
    assert_eq!(store.find_request("ann", "r1").await.unwrap(), Some(made.task.id.clone()));
    assert_eq!(store.find_request("ann", "r2").await.unwrap(), None);

    store.delete(&made.task.id).await.unwrap();
    let refused = store.insert(vec![create(again_first)]).await.remove(0);
    let gone = InsertRefusal::Gone { task_id: made.task.id, expired: None };
    assert!(matches!(refused, Err(InsertError::Refused(refusal)) if refusal == gone));
}

pub async fn a_request_raced_by_many_makes_one_task(store: Store) {
    insert_one(&store).await;
    let mut new = new_task("raced");
    new.request_id = Some("race".into());
    let racers = (0..12).map(|_| {
        let (store, new) = (store.clone(), new.clone());
        tokio::spawn(async move { store.insert(vec![create(new)]).await.remove(0).unwrap() })
    });
    let mut fresh = 0;
    let mut ids = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        let inserted = racer.await.unwrap();
        fresh += usize::from(!inserted.deduplicated);
        ids.push(inserted.task.id);
    }
    ids.dedup();
    assert_eq!((fresh, ids.len()), (1, 1));
    assert_eq!(all_tasks(&store, &Default::default()).await.len(), 2);
}

/// SQLite knows no lengths; the others refuse a name that validation should have refused.
pub async fn a_bad_member_does_not_harm_its_neighbours(store: Store) {
    let bad = new_task(&"x".repeat(NAME_BYTES_MAX + 1));
    let mut worse = new_task("worse");
    worse.user = "u".repeat(USER_BYTES_MAX + 1);
    let batch = [new_task("a"), bad, worse, new_task("b")].map(create).to_vec();
    let answers = store.insert(batch).await;
    assert!(answers[0].is_ok() && answers[3].is_ok());
    let created = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(all_tasks(&store, &Default::default()).await.len(), created);
}

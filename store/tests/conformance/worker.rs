//! Workers.

use asyncflow_store::{Registration, Store, Touch};

pub async fn sessions_follow_incarnations(store: Store) {
    let mut registration = Registration {
        worker_id: "gpu-1".into(),
        incarnation: "boot-1".into(),
        slots: 4,
        task_types: vec!["train".into()],
        ..Registration::default()
    };
    let first = store.register_worker(&registration).await.unwrap();
    assert_eq!(first.former_session_id, None);
    let again = store.register_worker(&registration).await.unwrap();
    assert_eq!(again, first);
    let touch = Touch { session_id: first.session_id, draining: true, running: 3 };
    let unknown = Touch { session_id: 1, draining: false, running: 1 };
    store.touch_workers(&[touch, unknown]).await.unwrap();
    let row = store.get_session(first.session_id).await.unwrap().unwrap();
    assert_eq!(row.registration, registration);
    assert_eq!((row.draining, row.running), (true, 3));
    registration.incarnation = "boot-2".into();
    let second = store.register_worker(&registration).await.unwrap();
    assert_ne!(second.session_id, first.session_id);
    assert_eq!(second.former_session_id, Some(first.session_id));
    assert_eq!(store.register_worker(&registration).await.unwrap(), second);
    assert_eq!(store.get_session(first.session_id).await.unwrap(), None);
    store.end_session(first.session_id).await.unwrap();
    assert!(store.get_session(second.session_id).await.unwrap().is_some(), "it ended long ago");
    store.end_session(second.session_id).await.unwrap();
    assert_eq!(store.get_session(second.session_id).await.unwrap(), None);
    let third = store.register_worker(&registration).await.unwrap();
    assert_ne!(third.session_id, second.session_id);
    assert_eq!(third.former_session_id, None);
    registration.worker_id = "gpu-2".into();
    store.register_worker(&registration).await.unwrap();
    let ids = |rows: Vec<asyncflow_store::WorkerRow>| -> Vec<String> {
        rows.into_iter().map(|row| row.registration.worker_id).collect()
    };
    assert_eq!(ids(store.list_workers(None, 10).await.unwrap()), ["gpu-1", "gpu-2"]);
    assert_eq!(ids(store.list_workers(Some("gpu-1"), 10).await.unwrap()), ["gpu-2"]);
    let now_ms = store.now_ms().await.unwrap();
    assert_eq!(store.delete_stale_workers(now_ms - 60_000, None).await.unwrap(), 0);
    assert_eq!(store.delete_stale_workers(now_ms + 60_000, None).await.unwrap(), 2);
}

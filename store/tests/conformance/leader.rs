//! Leadership.

use asyncflow_store::{DutyRuns, Store, StoreError};

pub async fn only_one_leads_and_epochs_fence(store: Store) {
    assert_eq!(store.get_leader().await.unwrap(), None);
    let racers = (0..6).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.try_lead(&format!("g{n}"), 60_000).await.unwrap() })
    });
    let mut leaders = Vec::new();
    for racer in racers.collect::<Vec<_>>() {
        leaders.extend(racer.await.unwrap());
    }
    assert_eq!(leaders.len(), 1);
    let first = leaders.remove(0);
    assert_eq!(first.epoch, 1);
    store.renew(&first, 60_000).await.unwrap();
    assert_eq!(store.try_lead("other", 60_000).await.unwrap(), None);
    store.resign(&first).await.unwrap();
    let second = store.try_lead("other", -1_000).await.unwrap().unwrap();
    assert_eq!(second.epoch, 2);
    assert!(matches!(store.renew(&first, 60_000).await, Err(StoreError::NotLeader)));
    let third = store.try_lead("third", 60_000).await.unwrap().unwrap();
    assert_eq!(third.epoch, 3);
    let row = store.get_leader().await.unwrap().unwrap();
    assert_eq!((row.holder.as_str(), row.epoch), ("third", 3));
    assert!(row.expire_time_ms > row.now_ms);
    assert!(matches!(store.resign(&second).await, Err(StoreError::NotLeader)));
}

pub async fn duties_add_up(store: Store) {
    let runs = |runs, done, error: Option<&str>| DutyRuns {
        name: "reap".into(),
        runs,
        failures: error.is_some().into(),
        done,
        last_start_ms: 10,
        last_end_ms: 20,
        last_error: error.map(String::from),
    };
    let old = store.try_lead("first", -1).await.unwrap().unwrap();
    store.record_duty(&runs(5, 3, None), &old).await.unwrap();
    store.record_duty(&runs(1, 0, Some("no database")), &old).await.unwrap();
    let duty = store.list_duties().await.unwrap().remove(0);
    assert_eq!((duty.runs, duty.failures, duty.done), (6, 1, 3));
    assert_eq!(duty.last_error.as_deref(), Some("no database"));
    let new = store.try_lead("second", -1).await.unwrap().unwrap();
    store.record_duty(&runs(1, 1, None), &new).await.unwrap();
    let refused = store.record_duty(&runs(1, 1, Some("late")), &old).await;
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    let duty = store.list_duties().await.unwrap().remove(0);
    assert_eq!((duty.runs, duty.done, duty.last_error), (7, 4, None));
    assert_eq!((duty.last_start_ms, duty.last_end_ms), (10, 20));
}

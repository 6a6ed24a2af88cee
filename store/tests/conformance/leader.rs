//! Leadership.

use asyncflow_store::{Store, StoreError};

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

//! Brokers that say that they live.

use asyncflow_store::Store;

pub async fn who_lives_is_seen_by_its_counter(store: Store) {
    assert_eq!(store.broker_beats().await.unwrap(), []);
    store.beat_broker("b").await.unwrap();
    store.beat_broker("a").await.unwrap();
    store.beat_broker("b").await.unwrap();
    let beats = store.broker_beats().await.unwrap();
    assert_eq!(beats, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    // Many at once, each in its own row.
    let all = (0..20).map(|n| {
        let store = store.clone();
        async move { store.beat_broker(&format!("n-{:02}", n % 5)).await }
    });
    for outcome in futures::future::join_all(all).await {
        outcome.unwrap();
    }
    let beats = store.broker_beats().await.unwrap();
    let of_n: i64 = beats.iter().filter(|(id, _)| id.starts_with('n')).map(|(_, n)| n).sum();
    assert_eq!((beats.len(), of_n), (7, 20));
}

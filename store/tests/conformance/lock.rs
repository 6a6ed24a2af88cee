//! Locks in the table of every database.

use std::time::Duration;

use asyncflow_store::{LockKind, Store, StoreOptions};

pub async fn one_holder_at_a_time(store: Store) {
    let mut options = StoreOptions::new(store.url());
    options.lock = LockKind::Database;
    let first = Store::connect(&options).await.unwrap();
    let second = Store::connect(&options).await.unwrap();
    let ttl = Duration::from_millis(600);
    let guard = first.locks().try_acquire("claim:work", ttl).await.unwrap().unwrap();
    assert!(second.locks().try_acquire("claim:work", ttl).await.unwrap().is_none());
    assert!(second.locks().try_acquire("claim:other", ttl).await.unwrap().is_some());
    // Longer than the ttl: it is renewed.
    tokio::time::sleep(ttl * 2).await;
    assert!(guard.is_held());
    assert!(second.locks().try_acquire("claim:work", ttl).await.unwrap().is_none());
    guard.release().await;
    assert!(second.locks().try_acquire("claim:work", ttl).await.unwrap().is_some());
    first.close().await;
    second.close().await;
}

//! Shards.

use asyncflow_core::shard::ShardState;
use asyncflow_store::{GetError, Parts, Store, StoreOptions};

use super::fixture::{insert_one, type_name};

pub async fn many_openers_make_one_shard(store: Store) {
    let other = Store::connect(&StoreOptions::new(store.url())).await.unwrap();
    let name = type_name("fresh");
    let openers = (0..8).map(|n| {
        let store = if n % 2 == 0 { store.clone() } else { other.clone() };
        let name = name.clone();
        tokio::spawn(async move { store.open_shard(&name).await.unwrap() })
    });
    for opener in openers.collect::<Vec<_>>() {
        assert_eq!(opener.await.unwrap().number, 1);
    }
    let shards = store.list_shards(None).await.unwrap();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0].state, ShardState::Open);
    let rolled = store.roll_shard(&name, None).await.unwrap();
    assert_eq!(rolled.number, 2);
    let states: Vec<_> =
        store.list_shards(Some(&name)).await.unwrap().iter().map(|s| s.state).collect();
    assert_eq!(states, [ShardState::Closed, ShardState::Open]);
    assert_eq!(store.active_shards(&name).await.unwrap().len(), 2);
    other.close().await;
}

pub async fn ids_of_other_shards_are_told_apart(store: Store) {
    let mut id = insert_one(&store).await.id;
    id.key += 1;
    assert!(matches!(store.get(&id, Parts::NONE).await, Err(GetError::NotFound)));
    id.shard.number = 9;
    assert!(matches!(store.get(&id, Parts::NONE).await, Err(GetError::NotFound)));
    id.shard.task_type = type_name("never");
    assert!(matches!(store.get(&id, Parts::NONE).await, Err(GetError::NotFound)));
    assert_eq!(store.get_many(&[id], Parts::NONE).await.unwrap(), [None]);
}

pub async fn sizes_are_told_of_every_shard(store: Store) {
    insert_one(&store).await;
    store.open_shard(&type_name("empty")).await.unwrap();
    let sizes = store.shard_sizes().await.unwrap();
    let shards = store.list_shards(None).await.unwrap();
    assert_eq!(shards.len(), 2);
    for shard in shards {
        assert!(sizes.get(&shard.id).is_some_and(|bytes| *bytes > 0), "{shard:?}: {sizes:?}");
    }
    assert_eq!(sizes.len(), 2);
}

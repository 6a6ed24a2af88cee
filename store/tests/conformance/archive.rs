//! What the archive needs of a shard.

use asyncflow_core::{
    event::Event,
    shard::ShardState,
    task::{Attempt, Content, FullTask},
};
use asyncflow_store::{
    ApplyError, Archived, DropOutcome, DropTerms, GetError, Parts, ShardPage, Store, StoreError,
};

use super::fixture::{
    apply, claim, complete, fail, insert_all, insert_one, new_task, running, start,
};

pub async fn pages_hold_everything_of_every_task_once(store: Store) {
    // Sizes that are far apart, and bytes that are no text.
    let bytes = |len: usize| Content { data: vec![0xfe; len].into(), content_type: String::new() };
    let tasks = (0..9_usize).map(|at| {
        let mut new = new_task(&format!("task {at}"));
        new.context = bytes(if at == 4 { 500_000 } else { at });
        new
    });
    insert_all(&store, tasks).await;
    let taken = claim(&store, 1, 3).await.leased;
    for (at, leased) in taken.iter().enumerate() {
        let task = &leased.task.task;
        apply(&store, &task.id, start(task)).await.unwrap();
        let end = if at == 0 { fail(task, 7) } else { complete(task, 7) };
        apply(&store, &task.id, end).await.unwrap();
    }
    let shard = taken[0].task.task.id.shard.clone();

    for page in [
        ShardPage { rows_max: 2, bytes_max: i64::MAX },
        ShardPage { rows_max: 100, bytes_max: 1 },
        ShardPage { rows_max: 100, bytes_max: 50 },
        ShardPage { rows_max: 9, bytes_max: i64::MAX },
    ] {
        let (mut read, mut after): (Vec<(FullTask, Vec<Attempt>)>, _) = (Vec::new(), None);
        loop {
            let rows = store.shard_rows(&shard, after, page).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.full.task.id.key);
            assert!(rows.len() <= page.rows_max as usize);
            assert!(page.bytes_max > 1 || rows.len() == 1, "one that is too large comes alone");
            read.extend(rows.into_iter().map(|row| (row.full, row.attempts)));
        }
        assert_eq!(read.len(), 9);
        assert!(read.windows(2).all(|pair| pair[0].0.task.id < pair[1].0.task.id));
        for (full, attempts) in read {
            assert_eq!(store.get(&full.task.id, Parts::ALL).await.unwrap(), full);
            assert_eq!(store.list_attempts(&full.task.id, 0, 9).await.unwrap(), attempts);
            let ended = taken.iter().any(|leased| leased.task.task.id == full.task.id);
            assert_eq!(attempts.len(), usize::from(ended));
        }
    }
}

pub async fn the_archive_is_noted_for_the_version_that_was_written(store: Store) {
    let shard = insert_one(&store).await.id.shard;
    let fence = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    let version = store.list_shards(None).await.unwrap()[0].version;
    store.set_archive(&shard, version, "file:///a/manifest.json", &fence).await.unwrap();
    let known = store.list_shards(None).await.unwrap().remove(0);
    assert_eq!((known.archive.as_str(), known.version), ("file:///a/manifest.json", version));

    let stale = store.set_archive(&shard, version - 1, "file:///b", &fence).await;
    assert!(matches!(stale, Err(StoreError::Conflict { current }) if current == version));
    let next = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    let fenced = store.set_archive(&shard, version, "file:///b", &fence).await;
    assert!(matches!(fenced, Err(StoreError::NotLeader)), "{fenced:?}");
    let mut other = shard.clone();
    other.number = 9;
    let unknown = store.set_archive(&other, 1, "file:///b", &next).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");
    assert_eq!(store.list_shards(None).await.unwrap()[0].archive, "file:///a/manifest.json");
}

/// A broker that is late writes into a drained shard that was archived, and that task is cancelled
/// before anybody looks at the shard: it is not in the archive.
pub async fn a_task_that_came_after_the_archive_keeps_its_shard(store: Store) {
    let fence = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    let (first, second) = (insert_one(&store).await.id, insert_one(&store).await.id);
    let shard = first.shard.clone();
    let cancel = || Event::Cancel { message: String::new() };
    apply(&store, &first, cancel()).await.unwrap();
    let late = store.list_shards(None).await.unwrap().remove(0);
    let archived = Archived { version: late.version + 2, last_key: Some(first.key) };
    apply(&store, &second, cancel()).await.unwrap();
    store.roll_shard(&shard.task_type, Some(&fence)).await.unwrap();
    store.drain_shards(None, &fence).await.unwrap();
    let known = store.list_shards(None).await.unwrap().remove(0);
    assert_eq!(known.version, archived.version);
    store.set_archive(&shard, known.version, "file:///a/manifest.json", &fence).await.unwrap();
    let terms = DropTerms { before_ms: i64::MAX, archived: Some(archived) };
    let kept = store.drop_shard(&shard, terms, &fence).await.unwrap();
    assert_eq!(kept, DropOutcome::Kept { live: false });
    let known = store.list_shards(None).await.unwrap().remove(0);
    assert_eq!((known.state, known.archive.as_str()), (ShardState::Closed, ""));
    assert_eq!(store.get(&second, Parts::NONE).await.unwrap().task.id, second);
}

pub async fn a_dropped_task_says_where_it_is(store: Store) {
    let fence = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    for archive in ["file:///a/work/work-1/manifest.json", ""] {
        let task = running(&store, 1).await.task;
        apply(&store, &task.id, complete(&task, 7)).await.unwrap();
        let shard = task.id.shard.clone();
        store.roll_shard(&shard.task_type, Some(&fence)).await.unwrap();
        store.drain_shards(None, &fence).await.unwrap();
        let shards = store.list_shards(None).await.unwrap();
        let known = shards.iter().find(|known| known.id == shard).unwrap();
        if !archive.is_empty() {
            store.set_archive(&shard, known.version, archive, &fence).await.unwrap();
        }
        let archived = Archived { version: known.version, last_key: Some(task.id.key) };
        let archived = (!archive.is_empty()).then_some(archived);
        let terms = DropTerms { before_ms: i64::MAX, archived };
        let dropped = store.drop_shard(&shard, terms, &fence).await.unwrap();
        assert_eq!(dropped, DropOutcome::Dropped { rows: 1 });

        let expired = |error: GetError| match error {
            GetError::Expired { archive } => archive,
            other => panic!("{other:?}"),
        };
        assert_eq!(expired(store.get(&task.id, Parts::ALL).await.unwrap_err()), archive);
        assert_eq!(expired(store.list_attempts(&task.id, 0, 9).await.unwrap_err()), archive);
        let expired = |error: ApplyError| match error {
            ApplyError::Expired { archive } => archive,
            other => panic!("{other:?}"),
        };
        assert_eq!(expired(store.delete(&task.id).await.unwrap_err()), archive);
        let retry = apply(&store, &task.id, Event::retry(false)).await;
        assert_eq!(expired(retry.unwrap_err()), archive);
    }
}

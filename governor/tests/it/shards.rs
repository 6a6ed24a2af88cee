//! Shards rolled, archived and dropped by hand, and what stands in the way.

use crate::harness::{Client, reason, start, start_with, store};
use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{TaskId, TypeName},
};
use asyncflow_proto::v1::{
    ArchiveShardRequest, DropShardRequest, DropShardResponse, RollShardRequest, Shard, ShardState,
};
use asyncflow_store::{
    Create, Store,
    testing::{SqliteFile, fresh_database, mariadb, postgres},
};
use std::sync::Arc;
use tonic::{Code, Status};
use tonic_types::StatusExt;

async fn new_task(store: &Store) -> TaskId {
    let name = TypeName::new("train").unwrap();
    let task_type = Arc::new(store.ensure_type(&name).await.unwrap());
    let new = NewTask::new(name, "ana");
    let inserted = store.insert(vec![Create { new, task_type }]).await;
    inserted.into_iter().next().unwrap().unwrap().task.id
}

async fn apply(store: &Store, id: &TaskId, event: Event) -> asyncflow_core::task::Task {
    store.apply(vec![(id.clone(), event)]).await.remove(0).unwrap().task
}

async fn complete(store: &Store, id: &TaskId) {
    let claim = Event::Claim { worker_id: "w1".to_owned(), session_id: 1, handout_ttl_ms: 600_000 };
    let fence = Fence { attempt: apply(store, id, claim).await.attempt, session_id: 1 };
    apply(store, id, Event::Start { fence, lease_ttl_ms: 600_000 }).await;
    let settle = Settle::complete(None);
    apply(store, id, Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None })
        .await;
}

async fn roll(client: &mut Client) -> Result<Shard, Status> {
    let request = RollShardRequest { task_type: "train".to_owned() };
    client.roll_shard(request).await.map(|answer| answer.into_inner().shard.unwrap())
}

async fn drop_first(client: &mut Client, validate_only: bool) -> Result<DropShardResponse, Status> {
    let request = DropShardRequest { task_type: "train".to_owned(), number: 1, validate_only };
    client.drop_shard(request).await.map(|answer| answer.into_inner())
}

async fn a_life_by_hand(url: &str) {
    let store = store(url).await;
    let mut governor = start(url).await;
    governor.until_leading(true).await;
    let client = &mut governor.client;
    let unknown = roll(client).await.unwrap_err();
    assert_eq!((unknown.code(), &*reason(&unknown)), (Code::NotFound, "UNKNOWN_TASK_TYPE"));
    let id = new_task(&store).await;
    let check = drop_first(client, true).await.unwrap();
    assert!(check.obstacle.contains("open"), "{check:?}");
    let rolled = roll(client).await.unwrap();
    assert_eq!((rolled.number, rolled.state()), (2, ShardState::Open));
    // As if the answer had been lost: the shard is empty, and stays.
    assert_eq!(roll(client).await.unwrap().number, 2);
    assert_eq!(store.list_shards(None).await.unwrap().len(), 2);

    let check = drop_first(client, true).await.unwrap();
    assert!(check.obstacle.contains("1 of its tasks"), "{check:?}");
    let refused = drop_first(client, false).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::FailedPrecondition, "SHARD_IN_USE"));

    complete(&store, &id).await;
    // Its type keeps tasks for ever, which a drop by hand does not mind.
    let check = drop_first(client, true).await.unwrap();
    assert_eq!((check.rows, check.retained_rows, &*check.obstacle), (1, 1, ""));
    assert_eq!(check.shard.unwrap().state(), ShardState::Closed);
    let dropped = drop_first(client, false).await.unwrap();
    let shard = dropped.shard.unwrap();
    assert_eq!((dropped.rows, shard.rows, shard.state()), (1, 0, ShardState::Gone));
    // Repeating it is no error.
    assert_eq!(drop_first(client, false).await.unwrap().rows, 0);
}

#[tokio::test]
async fn a_shard_is_rolled_and_dropped_by_hand_on_sqlite() {
    a_life_by_hand(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn a_shard_is_rolled_and_dropped_by_hand_on_mariadb() {
    a_life_by_hand(&fresh_database(mariadb()).await).await;
}

#[tokio::test]
async fn a_shard_is_rolled_and_dropped_by_hand_on_postgres() {
    a_life_by_hand(&fresh_database(postgres()).await).await;
}

#[tokio::test]
async fn a_shard_is_archived_by_hand_and_stays() {
    let file = SqliteFile::new();
    let store = store(&file.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let id = new_task(&store).await;
    complete(&store, &id).await;
    let request = || ArchiveShardRequest { task_type: "train".to_owned(), number: 1 };

    let mut without = start(&file.url()).await;
    without.until_leading(true).await;
    let open = without.client.archive_shard(request()).await.unwrap_err();
    assert_eq!((open.code(), &*reason(&open)), (Code::FailedPrecondition, "NO_ARCHIVE"));
    without.shutdown.cancel();
    without.task.await.unwrap().unwrap();

    let mut governor = start_with(&file.url(), &[("archive.url", &url)]).await;
    governor.until_leading(true).await;
    let client = &mut governor.client;
    let open = client.archive_shard(request()).await.unwrap_err();
    assert_eq!((open.code(), &*reason(&open)), (Code::FailedPrecondition, "SHARD_IN_USE"));
    roll(client).await.unwrap();
    let archived = client.archive_shard(request()).await.unwrap().into_inner();
    let shard = archived.shard.unwrap();
    assert_eq!((archived.rows, shard.state()), (1, ShardState::Drained));
    assert!(archived.bytes > 0 && shard.archive.starts_with(&url), "{shard:?}");
}

#[tokio::test]
async fn a_drop_by_hand_archives_first_when_the_type_says_so() {
    let file = SqliteFile::new();
    let store = store(&file.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let id = new_task(&store).await;
    complete(&store, &id).await;
    store.update_type(&id.shard.task_type, None, |train| train.archive = true).await.unwrap();

    let mut without = start(&file.url()).await;
    without.until_leading(true).await;
    roll(&mut without.client).await.unwrap();
    let check = drop_first(&mut without.client, true).await.unwrap();
    assert!(check.obstacle.contains("archive.url"), "{check:?}");
    let kept = drop_first(&mut without.client, false).await.unwrap_err();
    assert_eq!((kept.code(), &*reason(&kept)), (Code::FailedPrecondition, "NO_ARCHIVE"));
    without.shutdown.cancel();
    without.task.await.unwrap().unwrap();

    let mut governor = start_with(&file.url(), &[("archive.url", &url)]).await;
    governor.until_leading(true).await;
    let dropped = drop_first(&mut governor.client, false).await.unwrap();
    let shard = dropped.shard.unwrap();
    assert_eq!((dropped.rows, shard.state()), (1, ShardState::Gone));
    let manifest = std::fs::read_to_string(shard.archive.strip_prefix("file://").unwrap());
    assert!(manifest.unwrap().contains(&id.to_string()));
    let request = ArchiveShardRequest { task_type: "train".to_owned(), number: 1 };
    let gone = governor.client.archive_shard(request).await.unwrap_err();
    assert!(gone.message().contains("it was dropped; its archive is file://"), "{gone}");
}

#[tokio::test]
async fn what_is_wrong_or_not_there_is_told_and_a_standby_changes_nothing() {
    let file = SqliteFile::new();
    let store = store(&file.url()).await;
    let mut governor = start(&file.url()).await;
    governor.until_leading(true).await;
    let bad = DropShardRequest { task_type: "../t".to_owned(), ..Default::default() };
    let refused = governor.client.drop_shard(bad).await.unwrap_err();
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = fields.into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["task_type", "number"]);
    new_task(&store).await;
    let request =
        DropShardRequest { task_type: "train".to_owned(), number: 7, validate_only: true };
    let refused = governor.client.drop_shard(request).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::NotFound, "SHARD_NOT_FOUND"));

    let mut standby = start(&file.url()).await;
    let archive = ArchiveShardRequest { task_type: "train".to_owned(), number: 1 };
    let refusals = [
        roll(&mut standby.client).await.unwrap_err(),
        standby.client.archive_shard(archive).await.unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!((refused.code(), &*reason(&refused)), (Code::FailedPrecondition, "NOT_LEADER"));
        assert!(refused.get_details_retry_info().is_some());
    }
    assert_eq!(store.list_shards(None).await.unwrap().len(), 1);
}

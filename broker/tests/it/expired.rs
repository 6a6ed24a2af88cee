//! What is said of a task whose shard was dropped, and of a result that is not kept any more.

use asyncflow_core::id::TaskId;
use asyncflow_proto::v1;
use asyncflow_store::{DropOutcome, DropTerms, LeaderFence, ResultMarks, Store};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{TestBroker, complete};

const ARCHIVE: &str = "file:///var/lib/asyncflow/archive/train/train-1/manifest.json";

async fn finished(t: &mut TestBroker) -> TaskId {
    let task = t.create("train").await;
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    t.worker.complete_task(complete(&session_id, &leased)).await.unwrap();
    task.id.parse().unwrap()
}

async fn lead(store: &Store) -> LeaderFence {
    store.try_lead("g1", 60_000).await.unwrap().unwrap()
}

async fn drop_its_shard(store: &Store, id: &TaskId, archive: &str) {
    let fence = lead(store).await;
    store.roll_shard(id.task_type(), Some(&fence)).await.unwrap();
    store.drain_shards(None, &fence).await.unwrap();
    let shards = store.list_shards(None).await.unwrap();
    let version = shards.iter().find(|shard| shard.id == id.shard).unwrap().version;
    if !archive.is_empty() {
        store.set_archive(&id.shard, version, archive, &fence).await.unwrap();
    }
    let terms = DropTerms { before_ms: i64::MAX, archived: None };
    let dropped = store.drop_shard(&id.shard, terms, &fence).await.unwrap();
    assert_eq!(dropped, DropOutcome::Dropped { rows: 1 });
}

/// What every call about the task answers.
#[allow(clippy::needless_update, reason = "some requests hold nothing but the id")]
async fn refusals(t: &mut TestBroker, id: &TaskId) -> Vec<(&'static str, Status)> {
    let task_id = id.to_string();
    let broker = &mut t.broker;
    macro_rules! refused {
        ($verb:ident, $request:ident) => {{
            let request = v1::$request { task_id: task_id.clone(), ..Default::default() };
            (stringify!($verb), broker.$verb(request).await.map(|_| ()).unwrap_err())
        }};
    }
    let change = v1::UpdateTaskRequest {
        task_id: task_id.clone(),
        task: Some(v1::TaskSpec { name: "new".to_owned(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".to_owned()] }),
        ..Default::default()
    };
    vec![
        refused!(get_task, GetTaskRequest),
        refused!(list_attempts, ListAttemptsRequest),
        refused!(cancel_task, CancelTaskRequest),
        refused!(retry_task, RetryTaskRequest),
        refused!(delete_task, DeleteTaskRequest),
        refused!(wait_task, WaitTaskRequest),
        refused!(pause_task, PauseTaskRequest),
        refused!(resume_task, ResumeTaskRequest),
        refused!(stream_task_logs, StreamTaskLogsRequest),
        ("update_task", broker.update_task(change).await.map(|_| ()).unwrap_err()),
    ]
}

#[tokio::test]
async fn every_call_about_a_dropped_task_says_where_its_archive_is() {
    for archive in [ARCHIVE, ""] {
        let mut t = TestBroker::start().await;
        let id = finished(&mut t).await;
        drop_its_shard(&t.store, &id, archive).await;
        for (verb, status) in refusals(&mut t, &id).await {
            assert_eq!(status.code(), Code::NotFound, "{verb}: {status:?}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, "EXPIRED", "{verb}");
            let told = info.metadata.get("archive").map(String::as_str).unwrap_or_default();
            assert_eq!(told, archive, "{verb}");
            assert!(status.message().contains(archive), "{verb}: {}", status.message());
            assert_eq!(status.message().contains("archive"), !archive.is_empty(), "{verb}");
        }
        t.stop().await;
    }
}

#[tokio::test]
async fn a_result_that_expired_is_told_from_none() {
    let mut t = TestBroker::start().await;
    let id = finished(&mut t).await;
    let kept = t.get(&id.to_string()).await;
    assert!(kept.result.is_some() && !kept.result_expired);
    let (mut marks, fence) = (ResultMarks::new(), lead(&t.store).await);
    let done = t.store.expire_results(id.task_type(), i64::MAX, &mut marks, 10, Some(&fence));
    assert_eq!(done.await.unwrap().expired, 1);
    let expired = t.get(&id.to_string()).await;
    assert!(expired.result.is_none() && expired.result_expired);
    assert_ne!(expired.etag, kept.etag);
    t.stop().await;
}

/// The client did not hear the first answer, and asks again a day later.
#[tokio::test]
async fn a_repeated_create_whose_task_is_gone_says_so() {
    let mut t = TestBroker::start().await;
    let request = |request_id: &str| v1::CreateTaskRequest {
        task: Some(v1::TaskSpec { task_type: "train".into(), ..Default::default() }),
        request_id: request_id.into(),
        ..Default::default()
    };
    let session_id = t.register("w1", "a").await;
    for (request_id, reason, word) in
        [("dropped", "EXPIRED", ARCHIVE), ("deleted", "TASK_NOT_FOUND", "deleted since")]
    {
        let created = t.broker.create_task(request(request_id)).await.unwrap().into_inner();
        let id: TaskId = created.task.unwrap().id.parse().unwrap();
        if request_id == "dropped" {
            let leased = t.start_one(&session_id, request_id).await;
            t.worker.complete_task(complete(&session_id, &leased)).await.unwrap();
            drop_its_shard(&t.store, &id, ARCHIVE).await;
        } else {
            t.store.delete(&id).await.unwrap();
        }
        let refused = t.broker.create_task(request(request_id)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, reason);
        assert!(refused.message().contains(word), "{refused}");
        assert!(refused.message().contains(&id.to_string()), "{refused}");
    }
    t.stop().await;
}

//! The life of a task, for its owner and for its worker.

use asyncflow_proto::v1::{self, TaskState};
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal};

#[tokio::test]
async fn a_changed_task_is_answered_with_its_labels() {
    let mut t = TestBroker::start().await;
    let labels = [("project".to_owned(), "x".to_owned())].into();
    let spec = v1::TaskSpec { task_type: "train".into(), labels, ..Default::default() };
    let created = t.create_spec(spec).await;
    let update = v1::UpdateTaskRequest {
        task_id: created.id.clone(),
        task: Some(v1::TaskSpec { priority: Some(3), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["priority".into()] }),
        ..Default::default()
    };
    let updated = t.broker.update_task(update).await.unwrap().into_inner().task.unwrap();
    assert_eq!((updated.priority, &updated.labels), (3, &created.labels));
    assert_eq!(t.cancel(&created.id).await.unwrap().labels, created.labels);
    t.stop().await;
}

#[tokio::test]
async fn from_create_to_complete() {
    let mut t = TestBroker::start().await;
    let command = v1::Command { program: "/bin/true".into(), ..Default::default() };
    let created = t
        .create_spec(v1::TaskSpec {
            task_type: "train".into(),
            name: "digits".into(),
            labels: [("project".to_owned(), "x".to_owned())].into(),
            command: Some(command.clone()),
            ..Default::default()
        })
        .await;
    assert_eq!(created.state(), TaskState::Pending);
    assert_eq!((created.user.as_str(), created.command.as_ref()), ("anonymous", Some(&command)));

    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let task = leased.task.as_ref().unwrap();
    assert_eq!((task.id.as_str(), task.attempt), (created.id.as_str(), 1));
    assert_eq!(task.command, Some(command));

    let saved = t
        .worker
        .save_context(v1::SaveContextRequest {
            session_id: session.clone(),
            lease: leased.lease.clone(),
            stage: Some("train".into()),
            context: Some(v1::Content { data: "{}".into(), content_type: String::new() }),
            expected_version: Some(0),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(saved.context_version, 1);

    // A replay of the same call is OK and changes nothing.
    for _ in 0..2 {
        let done = t.worker.complete_task(complete(&session, &leased)).await.unwrap().into_inner();
        assert_eq!(done.state(), TaskState::Succeeded);
    }
    let task = t.get(&created.id).await;
    assert_eq!((task.state(), task.stage.as_str()), (TaskState::Succeeded, "train"));
    assert_eq!(task.result.unwrap().data, "42");
    assert_eq!(task.labels["project"], "x");

    let request = v1::ListAttemptsRequest { task_id: created.id.clone(), ..Default::default() };
    let attempts = t.broker.list_attempts(request).await.unwrap().into_inner().attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome(), v1::AttemptOutcome::Succeeded);
    t.stop().await;
}

#[tokio::test]
async fn a_repeated_request_id_gives_the_same_task() {
    let mut t = TestBroker::start().await;
    let request = |name: &str| v1::CreateTaskRequest {
        task: Some(v1::TaskSpec {
            task_type: "train".into(),
            name: name.into(),
            ..Default::default()
        }),
        request_id: "r1".into(),
        validate_only: false,
    };
    let first = t.broker.create_task(request("a")).await.unwrap().into_inner();
    let again = t.broker.create_task(request("a")).await.unwrap().into_inner();
    assert!(!first.deduplicated && again.deduplicated);
    let id = first.task.unwrap().id;
    assert_eq!(again.task.unwrap().id, id);

    let error = t.broker.create_task(request("b")).await.unwrap_err();
    assert_eq!(refusal(&error), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned(), vec![]));
    let details = tonic_types::StatusExt::get_error_details(&error);
    assert_eq!(details.error_info().unwrap().metadata["task_id"], id);
    t.stop().await;
}

#[tokio::test]
async fn a_batch_is_created_in_order_and_listed_page_by_page() {
    let mut t = TestBroker::start().await;
    let requests = (0..5).map(|number| v1::CreateTaskRequest {
        task: Some(v1::TaskSpec {
            task_type: "train".into(),
            name: format!("n{number}"),
            ..Default::default()
        }),
        ..Default::default()
    });
    let request = v1::BatchCreateTasksRequest { requests: requests.collect() };
    let responses = t.broker.batch_create_tasks(request).await.unwrap().into_inner().responses;
    let ids: Vec<String> = responses.into_iter().map(|r| r.task.unwrap().id).collect();

    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTasksRequest {
            page_size: 2,
            page_token,
            filter: "task_type = train AND user = \"anonymous\"".into(),
            view: 0,
            own: false,
        };
        let page = t.broker.list_tasks(request).await.unwrap().into_inner();
        listed.extend(page.tasks.into_iter().map(|task| task.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    listed.reverse();
    assert_eq!(listed, ids);

    let counted =
        t.broker.count_tasks(v1::CountTasksRequest::default()).await.unwrap().into_inner();
    assert_eq!((counted.total, counted.counts[0].count), (5, 5));
    t.stop().await;
}

#[tokio::test]
async fn only_checking_creates_nothing() {
    let mut t = TestBroker::start().await;
    let request = v1::CreateTaskRequest {
        task: Some(v1::TaskSpec { task_type: "train".into(), ..Default::default() }),
        request_id: String::new(),
        validate_only: true,
    };
    let task = t.broker.create_task(request).await.unwrap().into_inner().task.unwrap();
    assert_eq!((task.id.as_str(), task.state()), ("", TaskState::Pending));
    let types = t.broker.list_task_types(v1::ListTaskTypesRequest::default()).await.unwrap();
    assert!(types.into_inner().task_types.is_empty());
    t.stop().await;
}

#[tokio::test]
async fn owners_change_pause_retry_and_delete() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let request = v1::UpdateTaskRequest {
        task_id: task.id.clone(),
        task: Some(v1::TaskSpec { priority: Some(7), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["priority".into()] }),
        etag: task.etag.clone(),
    };
    let updated = t.broker.update_task(request.clone()).await.unwrap().into_inner().task.unwrap();
    assert_eq!(updated.priority, 7);
    let stale = t.broker.update_task(request).await.unwrap_err();
    assert_eq!(refusal(&stale).1, "REVISION_MISMATCH");

    let id = task.id;
    let pause = v1::PauseTaskRequest { task_id: id.clone() };
    for _ in 0..2 {
        let paused = t.broker.pause_task(pause.clone()).await.unwrap().into_inner().task.unwrap();
        assert_eq!(paused.state(), TaskState::Paused);
    }
    let resume = v1::ResumeTaskRequest { task_id: id.clone() };
    let resumed = t.broker.resume_task(resume).await.unwrap().into_inner().task.unwrap();
    assert_eq!(resumed.state(), TaskState::Pending);

    for _ in 0..2 {
        assert_eq!(t.cancel(&id).await.unwrap().state(), TaskState::Cancelled);
    }
    let retry = v1::RetryTaskRequest { task_id: id.clone(), from_start: false };
    let retried = t.broker.retry_task(retry).await.unwrap().into_inner().task.unwrap();
    assert_eq!(retried.state(), TaskState::Pending);

    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let delete = v1::DeleteTaskRequest { task_id: id.clone() };
    let running = t.broker.delete_task(delete.clone()).await.unwrap_err();
    assert_eq!(refusal(&running), (Code::FailedPrecondition, "ILLEGAL_STATE".to_owned(), vec![]));
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let finished = t.cancel(&id).await.unwrap_err();
    assert_eq!(finished.code(), Code::FailedPrecondition);
    t.broker.delete_task(delete).await.unwrap();
    let request = v1::GetTaskRequest { task_id: id, view: 0 };
    assert_eq!(refusal(&t.broker.get_task(request).await.unwrap_err()).1, "TASK_NOT_FOUND");
    t.stop().await;
}

#[tokio::test]
async fn draining_answers_long_polls_empty_and_ends_cleanly() {
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    let mut worker = t.worker.clone();
    let waiting =
        tokio::spawn(async move { worker.acquire_tasks(acquire(&session, "1", 1)).await });
    let in_an_hour_ms = t.store.now_ms().await.unwrap() + 3_600_000;
    // The long poll has begun once a later call of the same connection is answered.
    t.create_spec(v1::TaskSpec {
        task_type: "later".into(),
        not_before: Some(asyncflow_proto::time::timestamp(in_an_hour_ms)),
        ..Default::default()
    })
    .await;
    t.drain();
    assert!(waiting.await.unwrap().unwrap().into_inner().tasks.is_empty());
    t.stop().await;
}

//! Watching workflows, and waiting for their end.

use std::time::Duration;

use asyncflow_proto::{
    time::duration,
    v1::{self, WorkflowState, workflow_node::Work},
};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::harness::{TestBroker, acquire, complete, refusal};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the broker leaves between two views.
const INTERVAL_MS: i64 = 200;

fn task(name: &str) -> v1::WorkflowNode {
    let task = v1::TaskSpec { task_type: "work".into(), ..Default::default() };
    v1::WorkflowNode { name: name.into(), work: Some(Work::Task(task)), ..Default::default() }
}

async fn create(t: &mut TestBroker, nodes: Vec<v1::WorkflowNode>) -> String {
    let workflow = Some(v1::WorkflowSpec { name: "w".into(), nodes, ..Default::default() });
    let request = v1::CreateWorkflowRequest { workflow, ..Default::default() };
    t.broker.create_workflow(request).await.unwrap().into_inner().workflow.unwrap().id
}

async fn watch(t: &mut TestBroker, id: &str) -> Streaming<v1::WatchWorkflowResponse> {
    let request = v1::WatchWorkflowRequest { workflow_id: id.into() };
    t.broker.watch_workflow(request).await.unwrap().into_inner()
}

async fn next(
    stream: &mut Streaming<v1::WatchWorkflowResponse>,
) -> Option<v1::WatchWorkflowResponse> {
    timeout(PATIENCE, stream.message()).await.expect("it is told in time").unwrap()
}

fn state(view: &v1::WatchWorkflowResponse) -> WorkflowState {
    view.workflow.as_ref().unwrap().state()
}

fn wait(id: &str, timeout_ms: i64) -> v1::WaitWorkflowRequest {
    v1::WaitWorkflowRequest { workflow_id: id.into(), timeout: Some(duration(timeout_ms)) }
}

#[tokio::test]
async fn a_watch_begins_with_what_is_and_ends_with_the_workflow() {
    let mut t = TestBroker::start().await;
    let second = v1::WorkflowNode { depends_on: vec!["a".into()], ..task("b") };
    let id = create(&mut t, vec![task("a"), second]).await;
    let mut stream = watch(&mut t, &id).await;
    let first = next(&mut stream).await.unwrap();
    assert_eq!((state(&first), first.nodes.len()), (WorkflowState::Running, 2));
    let session = t.register("w", "i").await;
    for round in ["1", "2"] {
        let leased = t.start_one(&session, round).await;
        t.worker.complete_task(complete(&session, &leased)).await.unwrap();
        let view = next(&mut stream).await.unwrap();
        let succeeded = view.workflow.as_ref().unwrap().ended.unwrap().succeeded;
        assert_eq!(succeeded.to_string(), round, "{view:?}");
    }
    assert_eq!(next(&mut stream).await, None, "the second was the last");

    let mut late = watch(&mut t, &id).await;
    assert_eq!(state(&next(&mut late).await.unwrap()), WorkflowState::Succeeded);
    assert_eq!(next(&mut late).await, None);
    t.stop().await;
}

#[tokio::test]
async fn many_changes_are_few_views() {
    const MEMBERS: i32 = 1_000;
    const AT_ONCE: i32 = 5;
    let mut t = TestBroker::start().await;
    let members = (0..MEMBERS).map(|_| task("")).collect();
    let group = v1::WorkflowGroup { members, ..Default::default() };
    let group = v1::WorkflowNode {
        name: "all".into(),
        work: Some(Work::Group(group)),
        ..Default::default()
    };
    let id = create(&mut t, vec![group]).await;
    let mut stream = watch(&mut t, &id).await;
    let watching = tokio::spawn(async move {
        let mut views = Vec::new();
        while let Some(view) = stream.message().await.unwrap() {
            views.push(view);
        }
        views
    });
    let mut registration = crate::harness::registration("w", "i");
    registration.slots = AT_ONCE;
    let session = t.worker.register_worker(registration).await.unwrap().into_inner().session_id;
    let (mut left, mut rounds) = (MEMBERS, 0);
    while left > 0 {
        rounds += 1;
        let request = v1::AcquireTasksRequest {
            start: true,
            ..acquire(&session, &rounds.to_string(), AT_ONCE)
        };
        for leased in t.acquire(request).await {
            t.worker.complete_task(complete(&session, &leased)).await.unwrap();
            left -= 1;
        }
    }
    let views = timeout(PATIENCE, watching).await.expect("it ends").unwrap();
    let last = views.last().unwrap();
    assert_eq!(state(last), WorkflowState::Succeeded);
    assert_eq!(last.nodes[0].ended.unwrap().succeeded, MEMBERS);
    let workflow = last.workflow.as_ref().unwrap();
    let ms = |time: &Option<prost_types::Timestamp>| {
        asyncflow_proto::time::timestamp_ms(time.as_ref().unwrap()).unwrap()
    };
    let took_ms = ms(&workflow.finish_time) - ms(&workflow.create_time);
    // The first and the last are not held back.
    let views_max = took_ms / INTERVAL_MS + 3;
    let count = i64::try_from(views.len()).unwrap();
    assert!(count <= views_max, "{count} views in {took_ms} ms");
    t.stop().await;
}

#[tokio::test]
async fn a_watch_sees_what_changes_no_task() {
    let mut t = TestBroker::start().await;
    let clean = v1::WorkflowNode { depends_on: vec!["a".into()], when: 2, ..task("clean") };
    let id = create(&mut t, vec![task("a"), clean]).await;
    let mut stream = watch(&mut t, &id).await;
    assert_eq!(state(&next(&mut stream).await.unwrap()), WorkflowState::Running);
    let cancel = v1::CancelWorkflowRequest { workflow_id: id.clone() };
    t.broker.cancel_workflow(cancel).await.unwrap();
    let view = next(&mut stream).await.unwrap();
    assert_eq!(state(&view), WorkflowState::Cancelling);
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let mut last = view;
    while let Some(view) = next(&mut stream).await {
        last = view;
    }
    assert_eq!(state(&last), WorkflowState::Cancelled);
    t.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_the_workflow_or_with_the_time() {
    let mut t = TestBroker::start().await;
    let id = create(&mut t, vec![task("a")]).await;
    let short = t.broker.wait_workflow(wait(&id, 20)).await.unwrap().into_inner();
    assert_eq!((short.done, short.workflow.unwrap().state()), (false, WorkflowState::Running));

    let (mut waiter, request) = (t.broker.clone(), wait(&id, 60_000));
    let waiting = tokio::spawn(async move { waiter.wait_workflow(request).await });
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let ended = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!((ended.done, ended.workflow.unwrap().state()), (true, WorkflowState::Succeeded));
    t.stop().await;
}

#[tokio::test]
async fn a_broker_that_drains_lets_go_who_watches_and_waits() {
    let mut t = TestBroker::start().await;
    let id = create(&mut t, vec![task("a")]).await;
    let mut stream = watch(&mut t, &id).await;
    next(&mut stream).await.unwrap();
    let (mut waiter, request) = (t.broker.clone(), wait(&id, 60_000));
    let waiting = tokio::spawn(async move { waiter.wait_workflow(request).await });
    // The wait is there once a call behind it on the same connection is answered.
    t.broker.wait_workflow(wait(&id, 1)).await.unwrap();
    t.drain();
    let refused = timeout(PATIENCE, stream.message()).await.expect("it ends").unwrap_err();
    assert_eq!(refusal(&refused).0, Code::Unavailable);
    match timeout(PATIENCE, waiting).await.expect("it ends").unwrap() {
        Ok(answer) => assert!(!answer.into_inner().done),
        // It came when the broker drained already.
        Err(refused) => assert_eq!(refused.code(), Code::Unavailable),
    }
    t.stop().await;
}

#[tokio::test]
async fn what_is_no_workflow_is_neither_watched_nor_waited_for() {
    let mut t = TestBroker::start().await;
    let unknown = "wf-0000000000001";
    let not_found = (Code::NotFound, "WORKFLOW_NOT_FOUND".to_owned(), vec![]);
    let watch = |id: &str| v1::WatchWorkflowRequest { workflow_id: id.into() };
    let refused = t.broker.watch_workflow(watch(unknown)).await.unwrap_err();
    assert_eq!(refusal(&refused), not_found);
    let refused = t.broker.wait_workflow(wait(unknown, 1_000)).await.unwrap_err();
    assert_eq!(refusal(&refused), not_found);
    let refused = t.broker.watch_workflow(watch("wf-x")).await.unwrap_err();
    assert_eq!(refusal(&refused).2, ["workflow_id"]);
    let refused = t.broker.wait_workflow(wait("", -1)).await.unwrap_err();
    assert_eq!(refusal(&refused).2, ["workflow_id", "timeout"]);
    t.stop().await;
}

//! Tasks that wait, over the wire: for others, for signals, for tasks that they have made.

use asyncflow_proto::v1::{self, TaskState};
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal};

fn spec() -> v1::TaskSpec {
    v1::TaskSpec { task_type: "work".into(), ..Default::default() }
}

fn after(id: &str, any_end: bool) -> v1::TaskSpec {
    let task_id = id.to_owned();
    v1::TaskSpec { after: vec![v1::Predecessor { task_id, any_end }], ..spec() }
}

fn request(task: v1::TaskSpec) -> v1::CreateTaskRequest {
    v1::CreateTaskRequest { task: Some(task), ..Default::default() }
}

async fn state(t: &mut TestBroker, id: &str) -> TaskState {
    t.get(id).await.state()
}

async fn signal(t: &mut TestBroker, id: &str, name: &str) -> Result<v1::Task, tonic::Status> {
    let content = Some(v1::Content { data: name.to_owned().into(), ..Default::default() });
    let (task_id, name) = (id.to_owned(), name.to_owned());
    let answer = t.broker.signal_task(v1::SignalTaskRequest { task_id, name, content }).await?;
    Ok(answer.into_inner().task.unwrap())
}

#[tokio::test]
async fn who_waits_for_another_is_handed_out_when_it_has_ended() {
    let mut t = TestBroker::start().await;
    let first = t.create_spec(spec()).await;
    let second = t.create_spec(after(&first.id, false)).await;
    assert_eq!(second.state(), TaskState::Blocked);
    assert_eq!(t.get(&second.id).await.waits_for, std::slice::from_ref(&first.id));
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    // The worker waits already when the second one becomes ready.
    let mut worker = t.worker.clone();
    let waiting = acquire(&session, "2", 1);
    let waiting = tokio::spawn(async move { worker.acquire_tasks(waiting).await });
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let acquired = waiting.await.unwrap().unwrap().into_inner().tasks;
    assert_eq!(acquired[0].task.as_ref().unwrap().id, second.id);

    // In a batch and in a stream, beside others that stand alone.
    let mixed = vec![request(spec()), request(after(&second.id, true)), request(spec())];
    let batch = v1::BatchCreateTasksRequest { requests: mixed.clone() };
    let made = t.broker.batch_create_tasks(batch).await.unwrap().into_inner().responses;
    let states: Vec<_> = made.iter().map(|made| made.task.as_ref().unwrap().state()).collect();
    assert_eq!(states, [TaskState::Pending, TaskState::Blocked, TaskState::Pending]);
    let stream = tokio_stream::iter([v1::StreamCreateTasksRequest { requests: mixed }]);
    let mut answers = t.broker.stream_create_tasks(stream).await.unwrap().into_inner();
    let results = answers.message().await.unwrap().unwrap().results;
    assert_eq!(state(&mut t, &results[1].task_id).await, TaskState::Blocked);

    t.cancel(&first.id).await.unwrap_err();
    let lost = t.create_spec(spec()).await;
    t.cancel(&lost.id).await.unwrap();
    let vain = t.broker.create_task(request(after(&lost.id, false))).await.unwrap_err();
    let (code, reason, _) = refusal(&vain);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "PREDECESSOR_UNMET"));
    t.stop().await;
}

#[tokio::test]
async fn signals_reach_tasks_and_workflows() {
    let mut t = TestBroker::start().await;
    let task = v1::TaskSpec { signals: vec!["go".into(), "on".into()], ..spec() };
    let blocked = t.create_spec(task.clone()).await;
    signal(&mut t, &blocked.id, "go").await.unwrap();
    let full = t.get(&blocked.id).await;
    assert_eq!((full.state(), full.waits_for), (TaskState::Blocked, vec!["signal on".into()]));
    assert_eq!(signal(&mut t, &blocked.id, "on").await.unwrap().state(), TaskState::Pending);
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    let given = &leased.task.as_ref().unwrap().signals;
    assert_eq!(given.keys().collect::<Vec<_>>(), ["go", "on"]);
    // It wants to wait for another one.
    let wait_for = v1::WaitFor { signals: vec!["again".into()], ..Default::default() };
    let release = v1::ReleaseTaskRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        wait_for: Some(wait_for),
        ..Default::default()
    };
    let released = t.worker.release_task(release).await.unwrap().into_inner();
    assert_eq!(released.state(), TaskState::Blocked);
    signal(&mut t, &blocked.id, "again").await.unwrap();
    let leased = t.start_one(&session, "2").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let late = signal(&mut t, &blocked.id, "late").await.unwrap_err();
    assert_eq!(refusal(&late).1, "ILLEGAL_STATE");
    assert_eq!(refusal(&signal(&mut t, &blocked.id, "no name").await.unwrap_err()).2, ["name"]);
    let unknown = "work-1-0000000000001";
    assert_eq!(signal(&mut t, unknown, "x").await.unwrap_err().code(), Code::NotFound);

    let node = v1::WorkflowNode {
        name: "gate".into(),
        work: Some(v1::workflow_node::Work::Task(task)),
        ..Default::default()
    };
    let workflow = v1::WorkflowSpec { nodes: vec![node], ..Default::default() };
    let create = v1::CreateWorkflowRequest { workflow: Some(workflow), ..Default::default() };
    let created = t.broker.create_workflow(create).await.unwrap().into_inner();
    let id = created.workflow.unwrap().id;
    for name in ["on", "go"] {
        let (workflow_id, name) = (id.clone(), name.to_owned());
        let sent = v1::SignalWorkflowRequest { workflow_id, name, content: None };
        t.broker.signal_workflow(sent).await.unwrap();
    }
    let leased = t.start_one(&session, "3").await;
    assert_eq!(leased.task.unwrap().signals.len(), 2);
    t.stop().await;
}

/// It would only do the same again: the retry policy counts it, and delays it.
#[tokio::test]
async fn who_waits_for_children_that_it_never_made_may_fail() {
    let mut t = TestBroker::start().await;
    let task = t.create_spec(spec()).await;
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    let failure = v1::Failure { message: "it stands still".into(), ..Default::default() };
    let release = v1::ReleaseTaskRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        failure: Some(failure),
        wait_for: Some(v1::WaitFor { children: true, ..Default::default() }),
        ..Default::default()
    };
    let released = t.worker.release_task(release).await.unwrap().into_inner();
    assert_eq!(released.state(), TaskState::Scheduled);
    let failure = t.get(&task.id).await.failure.unwrap();
    assert_eq!(
        (failure.reason(), failure.message.as_str()),
        (v1::FailureReason::Error, "it stands still")
    );
    t.stop().await;
}

/// The indexes and names of what a task has made, page by page.
async fn names_of_children(
    t: &mut TestBroker,
    session: &str,
    leased: &v1::LeasedTask,
) -> Vec<(i32, String)> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListChildTasksRequest {
            session_id: session.to_owned(),
            lease: leased.lease.clone(),
            key: "parts".into(),
            page_size: 2,
            page_token,
        };
        let page = t.worker.list_child_tasks(list).await.unwrap().into_inner();
        for child in page.children {
            let task = child.task.unwrap();
            assert_eq!(task.result.unwrap().data, "42");
            names.push((child.index, task.name));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

#[tokio::test]
async fn a_task_makes_others_and_gets_their_results() {
    let mut t = TestBroker::start().await;
    let parent = t.create_spec(spec()).await;
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    let child = |name: &str| v1::TaskSpec {
        task_type: "child".into(),
        name: name.into(),
        ..Default::default()
    };
    let create = v1::CreateChildTasksRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        key: "parts".into(),
        tasks: vec![child("a"), child("b"), child("c")],
        max_parallel: 2,
        ..Default::default()
    };
    let made = t.worker.create_child_tasks(create.clone()).await.unwrap().into_inner();
    assert!(!made.deduplicated);
    let again = t.worker.create_child_tasks(create.clone()).await.unwrap().into_inner();
    assert_eq!((again.deduplicated, again.workflow.unwrap().id), (true, made.workflow.unwrap().id));
    let empty = v1::CreateChildTasksRequest { tasks: vec![], ..create.clone() };
    let refused = t.worker.create_child_tasks(empty).await.unwrap_err();
    assert_eq!(refusal(&refused).2, ["tasks"]);
    let other = v1::CreateChildTasksRequest { tasks: vec![child("x")], ..create.clone() };
    let refused = t.worker.create_child_tasks(other).await.unwrap_err();
    assert_eq!(refusal(&refused).1, "REQUEST_ID_REUSED");

    let wait_for = v1::WaitFor { children: true, ..Default::default() };
    let release = v1::ReleaseTaskRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        wait_for: Some(wait_for),
        ..Default::default()
    };
    let released = t.worker.release_task(release).await.unwrap().into_inner();
    assert_eq!(released.state(), TaskState::Blocked);
    assert_eq!(t.get(&parent.id).await.waits_for, ["children"]);
    let stale = t.worker.create_child_tasks(create).await.unwrap_err();
    assert_eq!(refusal(&stale).1, "LEASE_LOST");
    for acquire_id in ["2", "3", "4"] {
        let leased = t.start_one(&session, acquire_id).await;
        assert_eq!(leased.task.as_ref().unwrap().task_type, "child");
        t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    }
    let leased = t.start_one(&session, "5").await;
    assert_eq!(leased.task.as_ref().unwrap().id, parent.id);
    let names = names_of_children(&mut t, &session, &leased).await;
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(at, name)| (at, name.to_owned()));
    assert_eq!(names, expected);
    t.stop().await;
}

#[tokio::test]
async fn callbacks_are_made_with_what_the_task_has_left() {
    let mut t = TestBroker::start().await;
    let callback = |task_type: &str| v1::TaskSpec { task_type: task_type.into(), ..spec() };
    let task = v1::TaskSpec {
        retry: Some(v1::OptionalRetryPolicy { max_retries: Some(0), ..Default::default() }),
        success_if: "result == '42'".into(),
        on_success: vec![callback("good")],
        on_error: vec![callback("bad")],
        ..spec()
    };
    let once = v1::CreateTaskRequest { request_id: "once".into(), ..request(task.clone()) };
    let created = t.broker.create_task(once.clone()).await.unwrap().into_inner();
    let again = t.broker.create_task(once).await.unwrap().into_inner();
    let (id, same) = (created.task.unwrap().id, again.task.unwrap().id);
    assert_eq!((same, again.deduplicated), (id, true));
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let good = t.start_one(&session, "2").await.task.unwrap();
    assert_eq!((good.task_type.as_str(), &good.payload.unwrap().data[..]), ("good", &b"42"[..]));

    t.create_spec(task.clone()).await;
    let leased = t.start_one(&session, "3").await;
    let wrong = Some(v1::Content { data: "41".into(), ..Default::default() });
    let wrong = v1::CompleteTaskRequest { result: wrong, ..complete(&session, &leased) };
    assert_eq!(
        t.worker.complete_task(wrong).await.unwrap().into_inner().state(),
        TaskState::Failed
    );
    let bad = t.start_one(&session, "4").await.task.unwrap();
    let told = String::from_utf8(bad.payload.unwrap().data.to_vec()).unwrap();
    assert_eq!(bad.task_type, "bad");
    assert!(told.contains("FAILED") && told.contains("result == '42'"), "{told}");

    let wrong = v1::TaskSpec {
        success_if: "results".into(),
        after: vec![v1::Predecessor { task_id: "x".into(), any_end: false }],
        signals: vec!["a b".into()],
        on_error: vec![v1::TaskSpec { task_type: "A".into(), ..Default::default() }],
        ..spec()
    };
    let refused = t.broker.create_task(request(wrong)).await.unwrap_err();
    let expected = [
        "task.after[0].task_id",
        "task.on_error[0].task_type",
        "task.signals[0]",
        "task.success_if",
    ];
    let mut fields = refusal(&refused).2;
    fields.sort();
    assert_eq!(fields, expected);
    t.stop().await;
}

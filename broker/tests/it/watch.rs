//! Watching and waiting.

use asyncflow_proto::{
    time::duration,
    v1::{self, TaskState},
};
use tonic::Code;

use crate::harness::{TestBroker, complete, refusal};

/// Reads until a task in `state` came; gives its token.
async fn until(
    stream: &mut tonic::Streaming<v1::WatchTasksResponse>,
    task_id: &str,
    state: TaskState,
) -> String {
    loop {
        let answer = stream.message().await.unwrap().expect("the stream goes on");
        if answer.task.is_some_and(|task| task.id == task_id && task.state() == state) {
            return answer.resume_token;
        }
    }
}

#[tokio::test]
async fn a_watch_shows_changes_and_goes_on_where_it_broke() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let request =
        v1::WatchTasksRequest { filter: "task_type = train".into(), ..Default::default() };
    let mut stream = t.broker.watch_tasks(request.clone()).await.unwrap().into_inner();
    until(&mut stream, &task.id, TaskState::Pending).await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let token = until(&mut stream, &task.id, TaskState::Running).await;
    drop(stream);

    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let resumed = v1::WatchTasksRequest { resume_token: token, ..request };
    let mut stream = t.broker.watch_tasks(resumed).await.unwrap().into_inner();
    until(&mut stream, &task.id, TaskState::Succeeded).await;

    t.broker.delete_task(v1::DeleteTaskRequest { task_id: task.id.clone() }).await.unwrap();
    loop {
        let answer = stream.message().await.unwrap().unwrap();
        if answer.deleted_task_id == task.id {
            break;
        }
    }
    t.stop().await;
}

#[tokio::test]
async fn a_watch_until_done_ends_with_the_last_task() {
    let mut t = TestBroker::start().await;
    let (one, two) = (t.create("train").await, t.create("train").await);
    let request = v1::WatchTasksRequest {
        task_ids: vec![one.id.clone(), two.id.clone()],
        until_done: true,
        ..Default::default()
    };
    let mut stream = t.broker.watch_tasks(request).await.unwrap().into_inner();
    t.cancel(&one.id).await.unwrap();
    until(&mut stream, &one.id, TaskState::Cancelled).await;
    t.cancel(&two.id).await.unwrap();
    until(&mut stream, &two.id, TaskState::Cancelled).await;
    while let Some(answer) = stream.message().await.unwrap() {
        assert!(answer.task.is_none());
    }
    t.stop().await;
}

#[tokio::test]
async fn waiting_ends_with_the_task_or_with_the_time() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let wait = |ms| v1::WaitTaskRequest { task_id: task.id.clone(), timeout: Some(duration(ms)) };
    let short = t.broker.wait_task(wait(20)).await.unwrap().into_inner();
    assert!(!short.done && short.task.unwrap().state() == TaskState::Pending);

    let mut waiter = t.broker.clone();
    let request = wait(20_000);
    let waiting = tokio::spawn(async move { waiter.wait_task(request).await });
    t.cancel(&task.id).await.unwrap();
    let ended = waiting.await.unwrap().unwrap().into_inner();
    assert!(ended.done && ended.task.unwrap().state() == TaskState::Cancelled);
    t.stop().await;
}

#[tokio::test]
async fn a_token_from_another_log_is_too_old() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let request = v1::WatchTasksRequest { resume_token: "cffff".into(), ..Default::default() };
    let error = t.broker.watch_tasks(request).await.unwrap_err();
    assert_eq!(refusal(&error), (Code::OutOfRange, "RESUME_TOKEN_TOO_OLD".to_owned(), vec![]));
    t.stop().await;
}

/// All that a watch until done says, in the order of the tasks' ids.
async fn watched_to_its_end(t: &mut TestBroker, request: v1::WatchTasksRequest) -> Vec<String> {
    let mut stream = t.broker.watch_tasks(request).await.unwrap().into_inner();
    let mut said = Vec::new();
    let reading = async {
        while let Some(answer) = stream.message().await.unwrap() {
            said.extend(answer.task.map(|task| format!("{:?} {}", task.state(), task.id)));
            if !answer.deleted_task_id.is_empty() {
                said.push(format!("no {}", answer.deleted_task_id));
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.expect("it ends");
    said.sort();
    said
}

#[tokio::test]
async fn a_watch_until_done_says_what_does_not_exist_and_ends() {
    let mut t = TestBroker::start().await;
    let task_ids = vec!["train-1-0c5wzq8a7r2kd".to_owned()];
    let request = v1::WatchTasksRequest { task_ids, until_done: true, ..Default::default() };
    assert_eq!(watched_to_its_end(&mut t, request).await, ["no train-1-0c5wzq8a7r2kd"]);
    t.stop().await;
}

#[tokio::test]
async fn a_resumed_watch_until_done_knows_what_was_done_before() {
    let mut t = TestBroker::start().await;
    let (one, two, three) =
        (t.create("train").await, t.create("train").await, t.create("train").await);
    let all = [one.id.clone(), two.id.clone(), three.id.clone()];
    let request =
        v1::WatchTasksRequest { task_ids: all.to_vec(), until_done: true, ..Default::default() };
    let mut stream = t.broker.watch_tasks(request.clone()).await.unwrap().into_inner();
    t.cancel(&one.id).await.unwrap();
    until(&mut stream, &one.id, TaskState::Cancelled).await;
    t.broker.delete_task(v1::DeleteTaskRequest { task_id: two.id.clone() }).await.unwrap();
    let resume_token = loop {
        let answer = stream.message().await.unwrap().unwrap();
        if answer.deleted_task_id == two.id {
            break answer.resume_token;
        }
    };
    drop(stream);
    t.cancel(&three.id).await.unwrap();

    let resumed = v1::WatchTasksRequest { resume_token, ..request };
    let said = watched_to_its_end(&mut t, resumed).await;
    assert!(said.contains(&format!("Cancelled {}", three.id)), "{said:?}");
    t.stop().await;
}

#[tokio::test]
async fn a_watch_whose_reader_does_not_keep_up_ends_and_says_why() {
    let mut t = TestBroker::with(&[("limits.watch_lag_max", "16")]).await;
    t.create("train").await;
    let request =
        v1::WatchTasksRequest { filter: "task_type = train".into(), ..Default::default() };
    let mut stream = t.broker.watch_tasks(request).await.unwrap().into_inner();
    // Each more than the windows and buffers between can take.
    let labels = [("note".to_owned(), "n".repeat(250))];
    for _ in 0..100 {
        let labels = labels.clone().into();
        let task = v1::TaskSpec { task_type: "train".into(), labels, ..Default::default() };
        let create = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
        let requests = vec![create; 100];
        t.broker.batch_create_tasks(v1::BatchCreateTasksRequest { requests }).await.unwrap();
    }
    let (mut told, mut last_token) = (0, String::new());
    let error = loop {
        match stream.message().await {
            Ok(Some(answer)) => (told, last_token) = (told + 1, answer.resume_token),
            Ok(None) => panic!("it ends after {told} and does not say why"),
            Err(error) => break error,
        }
    };
    assert_eq!(refusal(&error), (Code::ResourceExhausted, "OVERLOADED".to_owned(), vec![]));
    assert!((1..10_000).contains(&told), "{told}");

    // It goes on where it was, and nothing is left out.
    let request = v1::WatchTasksRequest {
        filter: "task_type = train".into(),
        resume_token: last_token,
        ..Default::default()
    };
    let mut stream = t.broker.watch_tasks(request).await.unwrap().into_inner();
    while told < 10_001 {
        told += usize::from(stream.message().await.unwrap().unwrap().task.is_some());
    }
    t.stop().await;
}

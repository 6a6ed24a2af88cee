//! Which task goes to whom, and when.

use std::time::Duration;

use asyncflow_proto::{
    time::timestamp,
    v1::{self, TaskState},
};
use tonic::Code;

use crate::harness::{TestBroker, acquire, refusal, registration};

#[tokio::test]
async fn priority_is_seniority() {
    let mut t = TestBroker::start().await;
    let spec = |name: &str, priority| v1::TaskSpec {
        task_type: "train".into(),
        name: name.into(),
        priority: Some(priority),
        ..Default::default()
    };
    t.create_spec(spec("low", -5)).await;
    t.create_spec(spec("middle", 0)).await;
    t.create_spec(spec("high", 5)).await;
    let session = t.register("w1", "a").await;
    let mut names = Vec::new();
    for number in ["1", "2", "3"] {
        names.push(t.start_one(&session, number).await.task.unwrap().name);
    }
    assert_eq!(names, ["high", "middle", "low"]);
    t.stop().await;
}

#[tokio::test]
async fn a_waiting_worker_gets_a_new_task_of_a_new_type_at_once() {
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    let mut worker = t.worker.clone();
    let waiting =
        tokio::spawn(async move { worker.acquire_tasks(acquire(&session, "1", 3)).await });
    let created = t.create("fresh").await;
    let tasks = waiting.await.unwrap().unwrap().into_inner().tasks;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, created.id);
    t.stop().await;
}

#[tokio::test]
async fn a_worker_that_waits_is_handed_the_task_that_is_created() {
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    let mut handed = 0;
    // A create that comes before the worker waits is claimed; later and later ones do not.
    for round in 0..200 {
        let mut worker = t.worker.clone();
        let request = acquire(&session, &round.to_string(), 1);
        let waiting = tokio::spawn(async move { worker.acquire_tasks(request).await });
        tokio::time::sleep(Duration::from_millis(round)).await;
        let created = t.create("train").await;
        let tasks = waiting.await.unwrap().unwrap().into_inner().tasks;
        assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, created.id);
        handed += usize::from(created.state() == TaskState::Running);
        if handed == 3 {
            break;
        }
    }
    assert_eq!(handed, 3);
    t.stop().await;
}

/// A worker that takes commands, and all tasks of these types.
async fn register_for_commands(t: &mut TestBroker, types: &[&str]) -> String {
    let request = v1::RegisterWorkerRequest {
        task_types: types.iter().map(|name| (*name).to_owned()).collect(),
        takes_commands: true,
        ..registration("commands", "a")
    };
    t.worker.register_worker(request).await.unwrap().into_inner().session_id
}

#[tokio::test]
async fn who_takes_commands_leaves_other_tasks_to_those_who_name_their_type() {
    let mut t = TestBroker::start().await;
    let session = register_for_commands(&mut t, &[]).await;
    let mut worker = t.worker.clone();
    let request = acquire(&session, "1", 5);
    let waiting = tokio::spawn(async move { worker.acquire_tasks(request).await });
    let payload = t.create("infer").await;
    let why = t.explain(&payload.id).await.summary;
    assert!(why.contains("those that are there run commands"), "{why}");

    let command = v1::Command { program: "true".into(), ..Default::default() };
    let task_type = "fresh".to_owned();
    let spec = v1::TaskSpec { task_type, command: Some(command), ..Default::default() };
    let command = t.create_spec(spec).await;
    let tasks = waiting.await.unwrap().unwrap().into_inner().tasks;
    let ids: Vec<_> = tasks.iter().map(|one| &one.lease.as_ref().unwrap().task_id).collect();
    assert_eq!(ids, [&command.id]);

    let by_name = v1::RegisterWorkerRequest {
        task_types: vec!["infer".into()],
        ..registration("by-name", "a")
    };
    let by_name = t.worker.register_worker(by_name).await.unwrap().into_inner().session_id;
    let tasks = t.acquire(acquire(&by_name, "1", 5)).await;
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, payload.id);
    t.stop().await;
}

#[tokio::test]
async fn a_type_that_gets_its_first_command_is_looked_at() {
    let mut t = TestBroker::start().await;
    // The type is there, and known to have none. Nor is there a task that may come first: while the
    // type gets its command, it is looked at for whatever it has.
    let id = t.create("mixed").await.id;
    let cancel = v1::CancelTaskRequest { task_id: id, ..Default::default() };
    t.broker.cancel_task(cancel).await.unwrap();
    let session = register_for_commands(&mut t, &[]).await;
    let mut worker = t.worker.clone();
    let request = acquire(&session, "1", 1);
    let waiting = tokio::spawn(async move { worker.acquire_tasks(request).await });
    let command = v1::Command { program: "true".into(), ..Default::default() };
    let task_type = "mixed".to_owned();
    let spec = v1::TaskSpec { task_type, command: Some(command), ..Default::default() };
    let command = t.create_spec(spec).await;
    let tasks = waiting.await.unwrap().unwrap().into_inner().tasks;
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, command.id);
    t.stop().await;
}

#[tokio::test]
async fn a_worker_has_to_take_something() {
    let mut t = TestBroker::start().await;
    let nothing = v1::RegisterWorkerRequest { task_types: vec![], ..registration("w", "a") };
    let refused = t.worker.register_worker(nothing).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    t.stop().await;
}

#[tokio::test]
async fn new_tasks_do_not_overtake_those_that_wait() {
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    let mut created = Vec::new();
    for _ in 0..20 {
        created.push(t.create("train").await.id);
    }
    let mut taken = Vec::new();
    for round in 0..40 {
        let mut worker = t.worker.clone();
        let request = acquire(&session, &round.to_string(), 1);
        let waiting = tokio::spawn(async move { worker.acquire_tasks(request).await });
        created.push(t.create("train").await.id);
        let mut tasks = waiting.await.unwrap().unwrap().into_inner().tasks;
        taken.push(tasks.remove(0).lease.unwrap().task_id);
    }
    assert_eq!(taken, created[..40]);
    t.stop().await;
}

#[tokio::test]
async fn nobody_gets_more_than_it_asked_for_of_many_types() {
    let mut t = TestBroker::start().await;
    for _ in 0..3 {
        for name in ["a", "b", "c"] {
            t.create(name).await;
        }
    }
    let session = t.register("w1", "a").await;
    let mut got = 0;
    for number in 0..9 {
        let tasks = t.acquire(acquire(&session, &number.to_string(), 2)).await;
        assert!((1..=2).contains(&tasks.len()), "{} tasks", tasks.len());
        got += tasks.len();
        if got == 9 {
            break;
        }
    }
    assert_eq!(got, 9);
    t.stop().await;
}

#[tokio::test]
async fn a_scheduled_task_is_promoted_for_whoever_waits() {
    let mut t = TestBroker::start().await;
    let now_ms = t.store.now_ms().await.unwrap();
    let task = t
        .create_spec(v1::TaskSpec {
            task_type: "train".into(),
            not_before: Some(timestamp(now_ms + 300)),
            ..Default::default()
        })
        .await;
    assert_eq!(task.state(), TaskState::Scheduled);
    let session = t.register("w1", "a").await;
    let tasks = t.acquire(acquire(&session, "1", 1)).await;
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, task.id);
    assert!(t.store.now_ms().await.unwrap() >= now_ms + 300);
    t.stop().await;
}

#[tokio::test]
async fn a_task_for_a_caller_that_left_goes_back_at_once() {
    let mut t = TestBroker::start().await;
    let (one, two) = (t.register("w1", "a").await, t.register("w2", "a").await);
    let mut worker = t.worker.clone();
    let leaving = tokio::spawn(async move { worker.acquire_tasks(acquire(&one, "1", 1)).await });
    tokio::task::yield_now().await;
    leaving.abort();
    let task = t.create("train").await;
    let tasks = t.acquire(acquire(&two, "2", 1)).await;
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, task.id);
    t.stop().await;
}

#[tokio::test]
async fn types_that_were_not_registered_are_refused() {
    let mut t = TestBroker::start().await;
    let request =
        v1::RegisterWorkerRequest { task_types: vec!["a".into()], ..registration("w1", "a") };
    let session = t.worker.register_worker(request).await.unwrap().into_inner().session_id;
    let request =
        v1::AcquireTasksRequest { task_types: vec!["b".into()], ..acquire(&session, "1", 1) };
    let error = t.worker.acquire_tasks(request).await.unwrap_err();
    assert_eq!(refusal(&error), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned(), vec![]));
    t.stop().await;
}

#[tokio::test]
async fn a_paused_type_hands_out_nothing_until_it_is_resumed() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let paused = |paused| v1::UpdateTaskTypeRequest {
        task_type: Some(v1::TaskType { name: "train".into(), paused, ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["paused".into()] }),
    };
    t.broker.update_task_type(paused(true)).await.unwrap();
    let session = t.register("w1", "a").await;
    let short = v1::AcquireTasksRequest {
        wait: Some(asyncflow_proto::time::duration(100)),
        ..acquire(&session, "1", 1)
    };
    assert!(t.acquire(short).await.is_empty());
    t.broker.update_task_type(paused(false)).await.unwrap();
    let tasks = t.acquire(acquire(&session, "2", 1)).await;
    assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, task.id);
    t.stop().await;
}

//! Workers that run commands beside workers that are written with an SDK, as in `asyncflow dev`.

use asyncflow_proto::v1::{FailureReason, TaskSpec, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, sh};
use serde_json::json;

use crate::handlers::{self, Function, Worker};

async fn each_goes_to_who_can_run_it(backend: Backend) {
    let cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let greet = |name: &str| TaskSpec {
        task_type: "greet".to_owned(),
        payload: Some(handlers::json(&json!(name))),
        ..TaskSpec::default()
    };
    let early = client.create(greet("early")).await.unwrap();
    // By the time that it has ended, the worker has asked for all that it takes.
    let command = client.create(sh("true")).await.unwrap();
    let command = client.wait(&command.id, None).await.unwrap();
    assert_eq!(command.state(), TaskState::Succeeded, "{}", cluster.logs());
    let waiting = client.get(&early.id).await.unwrap();
    assert_eq!((waiting.state(), waiting.attempt), (TaskState::Pending, 0), "{}", cluster.logs());

    let hello = |name, _attempt| async move { Ok(json!(format!("hello {name}"))) };
    let hello = Function::new(hello);
    let worker = Worker::start(&cluster, 0, 4, [("greet", hello)]);
    // The type has commands, too, from now on.
    let of_same_type = TaskSpec { task_type: "greet".to_owned(), ..sh("true") };
    let of_same_type = client.create(of_same_type).await.unwrap();
    let late = client.create(greet("late")).await.unwrap();
    for task in [early, late, of_same_type] {
        let ended = client.wait(&task.id, None).await.unwrap();
        let told = (ended.state(), ended.failures);
        assert_eq!(told, (TaskState::Succeeded, 0), "{:?} {}", ended.failure, cluster.logs());
    }
    worker.stop().await;
}
on_each_database!(each_goes_to_who_can_run_it);

/// A result of 64 KiB is kept. One byte more fails the task for good: to run it again would only
/// bring the same.
async fn a_result_has_a_limit(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 0, ..Shape::default() }).await;
    let client = cluster.client(0);
    // With the quotes, which belong to the JSON.
    let fill = |bytes: serde_json::Value, _attempt| async move {
        Ok(json!("x".repeat(bytes.as_u64().unwrap() as usize - 2)))
    };
    let worker = Worker::start(&cluster, 0, 4, [("fill", Function::new(fill))]);
    for (bytes, state) in [(65_536, TaskState::Succeeded), (65_537, TaskState::Failed)] {
        let task_type = "fill".to_owned();
        let payload = Some(handlers::json(&json!(bytes)));
        let spec = TaskSpec { task_type, payload, ..TaskSpec::default() };
        let created = client.create(spec).await.unwrap();
        let task = client.wait(&created.id, None).await.unwrap();
        assert_eq!(task.state(), state, "{:?} {}", task.failure, cluster.logs());
        match task.failure {
            None => assert_eq!(task.result.unwrap().data.len(), bytes),
            Some(failure) => assert_eq!(failure.reason(), FailureReason::ResultTooLarge),
        }
        assert_eq!(client.attempts(&created.id).await.unwrap().len(), 1);
    }
    worker.stop().await;
}
on_each_database!(a_result_has_a_limit);

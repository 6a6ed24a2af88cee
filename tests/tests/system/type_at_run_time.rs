//! What is changed of a task type while everything runs reaches brokers and governor in seconds,
//! also without Redis.

use std::time::Duration;

use asyncflow_proto::v1::{
    CreateTaskRequest, TaskSpec, TaskState, TaskType, UpdateTaskTypeRequest,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command, until};

/// What is meant by "in seconds".
const SOON: Duration = Duration::from_secs(10);
/// The fewest rows at which a shard can be told to close.
const ROWS: i64 = 1_000;

async fn soon<T>(what: &str, reached: impl Future<Output = T>) -> T {
    let reached = tokio::time::timeout(SOON, reached).await;
    reached.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

/// Changes these fields of a type.
async fn set(client: &Client, task_type: TaskType, paths: &[&str]) {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = UpdateTaskTypeRequest { task_type: Some(task_type), update_mask };
    client.update_type(request).await.unwrap();
}

fn named(name: &str) -> TaskType {
    TaskType { name: name.to_owned(), ..TaskType::default() }
}

async fn a_change_reaches_the_other_broker(backend: Backend) {
    let shape = Shape { brokers: 2, governors: 0, ..Shape::default() };
    let cluster = Cluster::start(backend, shape).await;
    let (here, there) = (cluster.client(0), cluster.client(1));
    here.create_type(named("command")).await.unwrap();
    here.create_type(named("other")).await.unwrap();
    // Both know it as it was, so that what is seen later was not simply read for the first time.
    assert!(!there.get_type("command").await.unwrap().paused);
    let paused = TaskType { paused: true, schedule_limit: 7, ..named("command") };
    set(&here, paused, &["paused", "schedule_limit"]).await;
    let seen = until("the other broker knows", || async {
        let seen = there.get_type("command").await.unwrap();
        seen.paused.then_some(seen)
    });
    assert_eq!(soon("the change is known", seen).await.schedule_limit, 7);

    let held = there.create(command(["true"])).await.unwrap();
    // By the time that this one has ended the worker has asked for all types.
    let other = TaskSpec { task_type: "other".to_owned(), ..command(["true"]) };
    let other = there.create(other).await.unwrap();
    there.wait(&other.id, None).await.unwrap();
    assert_eq!(there.get(&held.id).await.unwrap().state(), TaskState::Pending);
    set(&there, named("command"), &["paused"]).await;
    let ended = soon("it runs", here.wait(&held.id, None)).await.unwrap();
    assert_eq!(ended.state(), TaskState::Succeeded, "{}", cluster.logs());
}
on_each_database!(a_change_reaches_the_other_broker: mariadb MariaDb, sqlite Sqlite);

async fn a_lower_limit_makes_the_governor_roll(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 0, ..Shape::default() }).await;
    let client = cluster.client(0);
    let spec = || TaskSpec { task_type: "train".to_owned(), ..TaskSpec::default() };
    let request = || CreateTaskRequest { task: Some(spec()), ..CreateTaskRequest::default() };
    let batch = (0..ROWS).map(|_| request()).collect();
    let created = client.create_batch(batch).await.unwrap();
    assert_eq!(created.len(), usize::try_from(ROWS).unwrap());
    assert!(client.create(spec()).await.unwrap().id.starts_with("train-1-"));
    let limited = TaskType { shard_max_rows: ROWS, ..named("train") };
    set(&client, limited, &["shard_max_rows"]).await;
    let rolled = until("new tasks go into the next shard", || async {
        let id = client.create(spec()).await.unwrap().id;
        id.starts_with("train-2-").then_some(())
    });
    soon("the shard is rolled", rolled).await;
}
on_each_database!(a_lower_limit_makes_the_governor_roll);

//! A stream of creates whose broker is killed is sent again to another one: each task is there
//! once.

use std::collections::HashSet;

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest};
use asyncflow_tests::{Backend, Cluster, Shape, command};
use futures::{StreamExt, TryStreamExt, stream};

const TASKS: usize = 2_000;
/// Results after which the broker is killed.
const BEFORE_THE_KILL: usize = 300;

fn request(at: usize, not_before_s: i64) -> CreateTaskRequest {
    let mut task = command(["true"]);
    task.not_before = Some(prost_types::Timestamp { seconds: not_before_s, nanos: 0 });
    CreateTaskRequest {
        task: Some(task),
        request_id: format!("r{at}"),
        ..CreateTaskRequest::default()
    }
}

async fn is_sent_again(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { brokers: 2, ..Shape::default() }).await;
    let store = cluster.store().await;
    let tomorrow_s = store.now_ms().await.unwrap() / 1_000 + 86_400;
    let requests = || stream::iter((0..TASKS).map(move |at| request(at, tomorrow_s)));
    let first = cluster.client(0);
    let results = first.create_stream(requests()).await.unwrap();
    let told: Vec<_> = results.take(BEFORE_THE_KILL).try_collect().await.unwrap();
    assert_eq!(told.len(), BEFORE_THE_KILL);
    cluster.brokers[0].kill();

    let results = cluster.client(1).create_stream(requests()).await;
    let again: Vec<_> = results.unwrap().try_collect().await.unwrap();
    assert!(again.iter().all(|result| result.error.is_none()));
    let ids: HashSet<_> = again.iter().map(|result| result.task_id.as_str()).collect();
    assert_eq!((again.len(), ids.len()), (TASKS, TASKS));
    for (before, now) in told.iter().zip(&again) {
        assert!(now.deduplicated);
        assert_eq!(before.task_id, now.task_id);
    }
    let counted = cluster.client(1).count(CountTasksRequest::default()).await.unwrap();
    assert_eq!(counted.total, TASKS as i64);
    store.close().await;
}
on_each_database!(is_sent_again);

//! kill -9 of the broker: what was acknowledged is there, what is repeated is there once, and a
//! task that runs meanwhile is completed by the attempt that runs it.

use asyncflow_proto::v1::{CountTasksRequest, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command, runs_until, until_started};
use futures::future::join_all;
use tokio::task::JoinHandle;

/// Creates at once. The client repeats with the same request id what got no answer.
fn creates(client: &Client, count: usize) -> JoinHandle<Vec<String>> {
    let client = client.clone();
    tokio::spawn(async move {
        let many = (0..count).map(|_| client.create(command(["true"])));
        join_all(many).await.into_iter().map(|task| task.unwrap().id).collect()
    })
}

/// How many there are, all of which have succeeded.
async fn succeeded(client: &Client, ids: &[String]) -> i64 {
    for id in ids {
        let task = client.wait(id, None).await.unwrap();
        assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.failure);
    }
    client.count(CountTasksRequest::default()).await.unwrap().total
}

async fn nothing_is_lost_or_doubled(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;

    let creates = creates(&client, 60);
    tokio::task::yield_now().await;
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    let ids = creates.await.unwrap();
    std::fs::write(&go, "").unwrap();

    let task = client.wait(&running.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
    assert_eq!(succeeded(&client, &ids).await, 61, "each create is there once");
}
on_each_database!(nothing_is_lost_or_doubled);

async fn a_create_is_there_once_whatever_was_committed(backend: Backend) {
    const CREATES: usize = 20;
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let mut ids = Vec::new();
    for point in ["insert.written", "insert.committed"] {
        let stop = cluster.brokers[0].faults().stop_at(point);
        let creates = creates(&client, CREATES);
        stop.reached().await;
        cluster.brokers[0].kill();
        stop.go_on();
        cluster.brokers[0].restart();
        ids.extend(creates.await.unwrap());
        let total = succeeded(&client, &ids).await;
        assert_eq!(total as usize, ids.len(), "{point}: {}", cluster.logs());
    }
}
on_each_database!(a_create_is_there_once_whatever_was_committed);

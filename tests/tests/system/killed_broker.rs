//! kill -9 of the broker: what was acknowledged is there, what is repeated is there once, and a
//! task that runs meanwhile is completed by the attempt that runs it.

use asyncflow_proto::v1::{CountTasksRequest, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, command, runs_until, until_started};
use futures::future::join_all;

async fn nothing_is_lost_or_doubled(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;

    // The client repeats with the same request id what got no answer.
    let creates = tokio::spawn({
        let client = client.clone();
        async move {
            let many = (0..60).map(|_| client.create(command(["true"])));
            join_all(many).await.into_iter().map(|task| task.unwrap().id).collect::<Vec<_>>()
        }
    });
    tokio::task::yield_now().await;
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    let ids = creates.await.unwrap();
    std::fs::write(&go, "").unwrap();

    let task = client.wait(&running.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
    for id in &ids {
        let task = client.wait(id, None).await.unwrap();
        assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.failure);
    }
    let total = client.count(CountTasksRequest::default()).await.unwrap().total;
    assert_eq!(total, 61, "each create is there once");
}
on_each_database!(nothing_is_lost_or_doubled);

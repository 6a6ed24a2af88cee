//! Two brokers: one goes, and its worker and its client go on with the other.

use asyncflow_proto::v1::{TaskSpec, TaskState};
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_tests::{Backend, Cluster, LEASE, Shape, sh, until, until_started};
use futures::future::join_all;

use crate::handlers::{Function, Worker};

/// The broker that handed a task out is killed and stays away; the other one takes what the worker
/// has to say about the same lease.
async fn the_other_takes_the_same_lease(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { brokers: 2, ..Shape::default() }).await;
    let client = cluster.client(1);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"while [ ! -e {} ]; do sleep 0.05; done
        echo '{{"event":"context","data":1,"stage":"late"}}' >> "$ASYNCFLOW_EVENTS"
        echo '{{"event":"result","data":"kept"}}' >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    );
    // One of them was handed out by the broker that goes, whichever the worker asked.
    for broker in [0, 1] {
        let id = client.create(sh(&script)).await.unwrap().id;
        until_started(&client, &id).await;
        cluster.brokers[broker].kill();
        let other = cluster.client(1 - broker);
        // Longer than a lease, so that only heartbeats at the other broker can have kept it.
        tokio::time::sleep(LEASE + std::time::Duration::from_secs(2)).await;
        std::fs::write(&go, "").unwrap();
        let task = other.wait(&id, None).await.unwrap();
        assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
        assert_eq!((task.stage.as_str(), task.crashes), ("late", 0));
        std::fs::remove_file(&go).unwrap();
        cluster.brokers[broker].restart();
        cluster.until_broker_answers(broker).await;
    }
}
on_each_database!(the_other_takes_the_same_lease: mariadb MariaDb, postgres Postgres);

/// SIGTERM of a broker under load: a client that knows both brokers fails no call, because each
/// repeats at most once.
async fn a_broker_that_is_told_to_end_fails_no_call(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let nothing = |_, _| async { Ok(serde_json::Value::Null) };
    let worker = Worker::start(&cluster, 1, 8, [("quick", Function::new(nothing))]);
    let clients = [0, 1].map(|broker| {
        let address = format!("http://{}", cluster.broker_address(broker));
        let options = ClientOptions { address, retries_max: 0, ..ClientOptions::default() };
        Client::connect(options).unwrap()
    });
    let load = join_all((0..8).map(|_| {
        let [first, second] = clients.clone();
        tokio::spawn(async move {
            let mut repeated = 0;
            let mut ids = Vec::new();
            for _ in 0..150 {
                let request = asyncflow_proto::v1::CreateTaskRequest {
                    task: Some(TaskSpec { task_type: "quick".to_owned(), ..TaskSpec::default() }),
                    request_id: format!("{:032x}", rand_id()),
                    ..Default::default()
                };
                let answer = match first.create_with(request.clone()).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        repeated += 1;
                        second.create_with(request).await.unwrap()
                    }
                };
                ids.push(answer.task.unwrap().id);
            }
            (repeated, ids)
        })
    }));
    let load = tokio::spawn(load);
    until("the load is on", || async {
        let request = asyncflow_proto::v1::CountTasksRequest::default();
        (clients[1].count(request).await.unwrap().total > 100).then_some(())
    })
    .await;
    cluster.brokers[0].terminate();
    let mut repeated = 0;
    let mut ids = std::collections::HashSet::new();
    for done in load.await.unwrap() {
        let (again, some) = done.unwrap();
        repeated += again;
        ids.extend(some);
    }
    assert!(repeated > 0, "the broker ended after the load");
    assert_eq!(ids.len(), 8 * 150);
    for id in &ids {
        let task = clients[1].wait(id, None).await.unwrap();
        assert_eq!(task.state(), TaskState::Succeeded);
    }
    worker.stop().await;
}
on_each_database!(a_broker_that_is_told_to_end_fails_no_call);

fn rand_id() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(0)) << 64 | u128::from(RandomState::new().hash_one(1))
}

//! The database is killed for longer than a lease while a task runs: the attempt that runs goes on
//! and is recorded, nobody is taken for dead, and what was acknowledged is there.

use std::time::Duration;

use asyncflow_proto::v1::{CountTasksRequest, TaskState};
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_store::{Store, StoreOptions};
use asyncflow_tests::{
    Backend, Cluster, LEASE, Shape, Stopwatch, command, runs_until, until, until_started,
};

const OUTAGE: Duration = LEASE.saturating_mul(5);
/// Longer than anything waits for a database that does not answer, and than a lease.
const STOPPED: Duration = LEASE.saturating_mul(3);
/// How soon a broker has to serve again.
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn no_live_task_is_taken_back(backend: Backend) {
    let shape = Shape { own_server: true, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;
    let creating = tokio::spawn({
        let client = client.clone();
        async move {
            let mut acknowledged = Vec::new();
            for _ in 0..200 {
                acknowledged.push(client.create(command(["true"])).await.unwrap().id);
            }
            acknowledged
        }
    });
    until("some are created", || async {
        let total = client.count(CountTasksRequest::default()).await.unwrap().total;
        (total > 20).then_some(())
    })
    .await;

    cluster.server().process().kill();
    let impatient = impatient(&cluster);
    let refused = impatient.create(command(["true"])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert!(refused.retry_delay().is_some(), "{refused}");
    tokio::time::sleep(OUTAGE).await;
    cluster.server().restart();
    let database = cluster.database_url().to_owned();
    until("the database has recovered", || async {
        let store = Store::connect(&StoreOptions::new(&database)).await.ok()?;
        store.ping().await.ok()
    })
    .await;
    let recovered = Stopwatch::start();
    let back = tokio::time::timeout(
        BACK_WITHIN,
        until("the broker serves again", || async { impatient.get(&running.id).await.ok() }),
    );
    let task =
        back.await.unwrap_or_else(|_| panic!("not within {BACK_WITHIN:?}: {}", cluster.logs()));
    recovered.tell("the broker serves again");
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 1));

    for id in creating.await.unwrap() {
        let task = client.wait(&id, None).await.unwrap();
        let lost = (task.state(), task.crashes);
        assert_eq!(lost, (TaskState::Succeeded, 0), "{task:?} {}", cluster.logs());
    }
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&running.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
    let total = client.count(CountTasksRequest::default()).await.unwrap().total;
    assert_eq!(total, 201, "each create is there once");
}
on_each_database!(no_live_task_is_taken_back: mariadb MariaDb, postgres Postgres);

/// Stopped, not gone: connections stay open and nobody answers. Calls end in time all the same, no
/// connection is leaked, and the worker that could not renew meanwhile keeps its task.
async fn a_database_that_hangs_holds_nobody_for_ever(backend: Backend) {
    let shape = Shape { own_server: true, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = impatient(&cluster);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;

    cluster.server().process().signal_family("STOP");
    // More calls than the pool has connections.
    let calls = (0..40).map(|_| {
        let client = client.clone();
        async move { client.create(command(["true"])).await }
    });
    let stuck = tokio::spawn(futures::future::join_all(calls));
    tokio::time::sleep(STOPPED).await;
    cluster.server().process().signal_family("CONT");
    let back = tokio::time::timeout(
        BACK_WITHIN,
        until("the broker serves again", || async { client.get(&running.id).await.ok() }),
    );
    let task =
        back.await.unwrap_or_else(|_| panic!("not within {BACK_WITHIN:?}: {}", cluster.logs()));
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 1));
    let answered = tokio::time::timeout(2 * STOPPED, stuck).await.unwrap().unwrap();
    for refused in answered.into_iter().filter_map(Result::err) {
        assert!(refused.is_retryable(), "{refused}");
    }
    // Each of these needs a connection at the same time as the others.
    futures::future::try_join_all((0..40).map(|_| client.create(command(["true"])))).await.unwrap();
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&running.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
}
on_each_database!(a_database_that_hangs_holds_nobody_for_ever: mariadb MariaDb, postgres Postgres);

/// A client that takes the first answer.
fn impatient(cluster: &Cluster) -> Client {
    let address = format!("http://{}", cluster.broker_address(0));
    let options = ClientOptions { address, retries_max: 0, ..ClientOptions::default() };
    Client::connect(options).unwrap()
}

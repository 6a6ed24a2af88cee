//! All brokers are away for several leases while the governor and the database are there: the
//! attempt that runs goes on and is recorded, and nobody is taken for dead.

use std::time::Duration;

use asyncflow_proto::v1::TaskState;
use asyncflow_tests::{Backend, Cluster, LEASE, Shape, runs_until, until_started};

const OUTAGE: Duration = LEASE.saturating_mul(3);

async fn no_live_task_is_taken_back(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { brokers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;
    for broker in &mut cluster.brokers {
        broker.kill();
    }
    tokio::time::sleep(OUTAGE).await;
    for broker in &mut cluster.brokers {
        broker.restart();
    }
    cluster.until_broker_answers(0).await;
    let task = client.get(&running.id).await.unwrap();
    assert_eq!((task.state(), task.attempt, task.crashes), (TaskState::Running, 1, 0));
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&running.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
}
on_each_database!(no_live_task_is_taken_back);

//! A connection of which the other side is gone, and nobody says so: the worker finds out by
//! keep-alive (10 s without a word, 5 s without an answer), connects again, and goes on.

use asyncflow_proto::v1::TaskState;
use asyncflow_tests::{
    Backend, Cluster, Shape, Stopwatch, proxy::Proxy, runs_until, sh, until_started,
};

async fn the_worker_connects_again(backend: Backend) {
    let shape = Shape { workers: 0, governors: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let link = Proxy::start(&cluster.broker_address(0));
    let worker = cluster.start_worker_by(0, std::iter::once(link.address()));
    cluster.workers.push(worker);
    cluster.until_workers_registered(1).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let running = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &running.id).await;

    link.lose();
    let lost = Stopwatch::start();
    // No process knows of it, and no other way leads to the broker.
    let next = client.create(sh("true")).await.unwrap();
    std::fs::write(&go, "").unwrap();
    for id in [&next.id, &running.id] {
        let task = client.wait(id, None).await.unwrap();
        let counts = (task.state(), task.attempt, task.crashes);
        assert_eq!(counts, (TaskState::Succeeded, 1, 0), "{}", cluster.logs());
        lost.tell("a task has ended");
    }
}
on_each_database!(the_worker_connects_again: sqlite Sqlite);

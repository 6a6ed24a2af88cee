//! Redis is never needed to be right: stopped, flushed, without memory, killed and back while tasks
//! are drained, it costs time and nothing else.

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command, redis::told, until};

const BATCH: usize = 100;

async fn create_many(client: &Client) -> Vec<String> {
    let request = || CreateTaskRequest { task: Some(command(["true"])), ..Default::default() };
    let created = client.create_batch((0..BATCH).map(|_| request()).collect()).await.unwrap();
    created.into_iter().map(|answer| answer.task.unwrap().id).collect()
}

async fn each_ran_once(client: &Client, ids: &[String]) {
    for id in ids {
        let task = client.wait(id, None).await.unwrap();
        assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{:?}", task.failure);
        assert_eq!(client.attempts(id).await.unwrap().len(), 1);
    }
}

async fn costs_time_and_nothing_else(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 2, redis: true, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let mut redis = cluster.redis.take().unwrap();

    let ids = create_many(&client).await;
    redis.process().signal("STOP");
    each_ran_once(&client, &ids).await;
    redis.process().signal("CONT");

    let ids = create_many(&client).await;
    told(&redis, "FLUSHALL");
    each_ran_once(&client, &ids).await;

    // It may keep nothing: at every command it throws away what it holds, and refuses what is new.
    let ids = create_many(&client).await;
    told(&redis, "SET filler x");
    told(&redis, "CONFIG SET maxmemory-policy allkeys-random");
    told(&redis, "CONFIG SET maxmemory 1");
    each_ran_once(&client, &ids).await;
    let stats = told(&redis, "INFO stats");
    assert!(!stats.contains("evicted_keys:0\r"), "{stats}");

    let ids = create_many(&client).await;
    redis.process().kill();
    each_ran_once(&client, &ids).await;

    // Each broker listens for wake-ups on a connection of its own.
    redis.restart();
    until("both brokers are back", || async {
        (told(&redis, "CLIENT LIST TYPE pubsub").matches("addr=").count() >= 2).then_some(())
    })
    .await;
    let ids = create_many(&client).await;
    each_ran_once(&client, &ids).await;
    let total = client.count(CountTasksRequest::default()).await.unwrap().total;
    assert_eq!(total, 5 * BATCH as i64);
}
on_each_database!(costs_time_and_nothing_else: mariadb MariaDb, postgres Postgres);

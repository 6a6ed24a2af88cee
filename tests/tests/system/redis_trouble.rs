//! Redis is never needed to be right: stopped, flushed and killed while tasks are drained, it costs
//! time and nothing else.

use std::{io::Write, net::TcpStream};

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costs_time_and_nothing_else() {
    let shape = Shape { brokers: 2, workers: 2, redis: true, ..Shape::default() };
    let mut cluster = Cluster::start(Backend::MariaDb, shape).await;
    let client = cluster.client(0);
    let redis = cluster.redis.take().unwrap();

    let ids = create_many(&client).await;
    redis.process().signal("STOP");
    each_ran_once(&client, &ids).await;
    redis.process().signal("CONT");

    let ids = create_many(&client).await;
    let mut connection = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    connection.write_all(b"FLUSHALL\r\n").unwrap();
    each_ran_once(&client, &ids).await;

    let ids = create_many(&client).await;
    redis.process().kill();
    each_ran_once(&client, &ids).await;
    let total = client.count(CountTasksRequest::default()).await.unwrap().total;
    assert_eq!(total, 3 * BATCH as i64);
}

//! Two of each role over MariaDB and Redis, 5,000 short tasks, and one of each role killed on the
//! way: each task is recorded exactly once.

use std::collections::HashSet;

use asyncflow_proto::v1::{
    AttemptOutcome, CountTasksRequest, CreateTaskRequest, ListTasksRequest, TaskState,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command, until};
use futures::TryStreamExt;

const BATCH: i64 = 500;
const TASKS: i64 = 5_000;

async fn succeeded(client: &Client) -> i64 {
    let request =
        CountTasksRequest { states: vec![TaskState::Succeeded.into()], ..Default::default() };
    client.count(request).await.map_or(0, |counts| counts.total)
}

/// Until at least this many are done, however long it takes as long as it goes on.
async fn until_done(client: &Client, count: i64) {
    let mut reached = -1;
    while reached < count {
        reached = until("more tasks are done", || async {
            let now = succeeded(client).await;
            (now > reached || now >= count).then_some(now)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_recorded_exactly_once() {
    let shape =
        Shape { brokers: 2, workers: 2, governors: 2, slots: 8, redis: true, ..Shape::default() };
    let mut cluster = Cluster::start(Backend::MariaDb, shape).await;
    let client = cluster.client(1);
    for _ in 0..TASKS / BATCH {
        let request = || CreateTaskRequest { task: Some(command(["true"])), ..Default::default() };
        client.create_batch((0..BATCH).map(|_| request()).collect()).await.unwrap();
    }
    until_done(&client, TASKS / 10).await;
    cluster.workers[0].kill();
    until_done(&client, TASKS / 5).await;
    cluster.brokers[0].kill();
    until_done(&client, TASKS * 3 / 10).await;
    let leader = cluster.leader().await;
    cluster.governors[leader].kill();
    cluster.workers[0].restart();
    cluster.brokers[0].restart();
    until_done(&client, TASKS).await;

    let request = ListTasksRequest { page_size: 1_000, ..Default::default() };
    let tasks: Vec<_> = client.list(request).try_collect().await.unwrap();
    let ids: HashSet<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!((tasks.len() as i64, ids.len() as i64), (TASKS, TASKS));
    assert!(tasks.iter().all(|task| task.state() == TaskState::Succeeded && task.failures == 0));
    // Only what the killed worker held has a history of more than one attempt.
    for task in tasks.iter().filter(|task| task.attempt > 1) {
        let attempts = client.attempts(&task.id).await.unwrap();
        let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!(numbers, (1..=task.attempt).collect::<Vec<_>>());
        let wins = attempts.iter().filter(|a| a.outcome() == AttemptOutcome::Succeeded).count();
        assert_eq!(wins, 1, "{attempts:?}");
    }
}

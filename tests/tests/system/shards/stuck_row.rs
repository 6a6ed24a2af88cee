//! A task runs and runs in the oldest shard: newer shards are served all the same, and what a
//! silent worker holds in one of them is taken back.

use std::time::Duration;

use asyncflow_proto::v1::{ShardState, Task, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Cluster, LEASE, Seen, Shape, sh, until_started, within};

use super::{succeeded, until_all_have_read_the_registry};

/// Long after the slowest poll, the lease and two looks.
const PATIENCE: Duration = LEASE.saturating_add(Duration::from_secs(9));
const SHAPE: Shape = Shape { workers: 2, slots: 1, ..Shape::SMALL };

/// A script that goes on until the cluster and its files are removed.
fn endless(cluster: &Cluster) -> String {
    let file = cluster.scratch().join("go-on");
    std::fs::write(&file, "").unwrap();
    format!("while [ -e {} ]; do sleep 0.2; done", file.display())
}

async fn running(client: &Client, script: &str) -> Task {
    let created = client.create(sh(script)).await.unwrap();
    until_started(client, &created.id).await
}

async fn newer_shards_are_served(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let stuck = running(&client, &endless(cluster)).await;
    for number in [2, 3] {
        governor.roll().await;
        until_all_have_read_the_registry(cluster).await;
        let created = client.create(sh("true")).await.unwrap();
        assert!(created.id.starts_with(&format!("command-{number}-")), "{}", created.id);
        let task = client.wait(&created.id, Some(PATIENCE)).await.unwrap();
        if task.state() == TaskState::Pending {
            return Err("a task in a newer shard waits behind the stuck one");
        }
        assert_eq!(task.state(), TaskState::Succeeded);
    }
    let stuck = client.get(&stuck.id).await.unwrap();
    assert_eq!((stuck.state(), stuck.attempt), (TaskState::Running, 1));
    assert_eq!(governor.shard(1).await.state(), ShardState::Closed);
    Ok(())
}
with_and_without_its_guard!(
    newer_shards_are_served,
    SHAPE,
    off & ["insert.hands_over", "shards.all_are_looked_at"],
    "a task in a newer shard waits behind the stuck one"
);

async fn newer_shards_are_reaped(cluster: &mut Cluster, off: &[&str]) -> Seen {
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let stuck = running(&client, &endless(cluster)).await;
    governor.roll().await;
    until_all_have_read_the_registry(cluster).await;
    let script = format!("[ $ASYNCFLOW_ATTEMPT = 2 ] && exit 0; {}", endless(cluster));
    let task = running(&client, &script).await;
    assert!(task.id.starts_with("command-2-"), "{}", task.id);
    assert_ne!(task.worker_id, stuck.worker_id);
    cluster.switch_off(off);
    let holder: usize = task.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
    cluster.workers[holder].process().signal("STOP");
    let taken_back = within(PATIENCE, || async {
        let task = client.get(&task.id).await.unwrap();
        (task.crashes == 1).then_some(())
    })
    .await;
    if taken_back.is_none() {
        return Err("a task of a silent worker in a newer shard is never taken back");
    }
    // The other worker is busy with the stuck one.
    let next = cluster.start_worker(SHAPE.workers);
    assert_eq!(succeeded(&client, &task.id).await.attempt, 2);
    drop(next);
    let stuck = client.get(&stuck.id).await.unwrap();
    assert_eq!((stuck.state(), stuck.attempt), (TaskState::Running, 1));
    Ok(())
}
with_and_without_its_guard!(
    newer_shards_are_reaped,
    SHAPE,
    off & ["shards.all_are_looked_at"],
    "a task of a silent worker in a newer shard is never taken back"
);

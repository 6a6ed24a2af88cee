//! Races around the life of a shard, each with the bug that its guard keeps away.

use asyncflow_proto::v1::{Task, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Cluster, sh, until};

mod killed_governor;
mod late_create;
mod live_row_in_a_drop;
mod long_read;
mod old_leader;
mod old_task;
mod repeated_request;
mod stuck_row;
mod two_drops;

/// Longer than a process goes by what it has read of the registry of shards.
const READ_AGAIN_MS: i64 = 2_500;

/// Returns when every process has read the registry as it is now.
async fn until_all_have_read_the_registry(cluster: &Cluster) {
    let store = cluster.store().await;
    until("no shard has changed for a while", || async {
        let now_ms = store.now_ms().await.ok()?;
        let shards = store.list_shards(None).await.ok()?;
        let is_old = |at_ms: i64| now_ms - at_ms > READ_AGAIN_MS;
        shards.iter().all(|shard| is_old(shard.update_time_ms)).then_some(())
    })
    .await;
    store.close().await;
}

/// Creates a task and waits until it has succeeded.
async fn run_one(client: &Client) -> Task {
    let created = client.create(sh("true")).await.unwrap();
    succeeded(client, &created.id).await
}

/// Waits until the task has succeeded.
async fn succeeded(client: &Client, id: &str) -> Task {
    let task = client.wait(id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.failure);
    task
}

//! RetryTask of an old task, whose shard is DRAINED: it is run.

use asyncflow_proto::v1::{ShardState, TaskState};
use asyncflow_tests::{Cluster, Seen, Shape};

use super::{run_one, succeeded, until_all_have_read_the_registry};

async fn old_task(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let task = run_one(&client).await;
    governor.roll().await;
    governor.until_state(1, ShardState::Drained).await;
    until_all_have_read_the_registry(cluster).await;

    client.retry(&task.id, true).await.unwrap();
    governor.run("drain").await;
    run_one(&client).await;
    let shard = governor.shard(1).await;
    let waits = client.get(&task.id).await.unwrap().state() == TaskState::Pending;
    if waits && shard.state() == ShardState::Drained && shard.live_rows > 0 {
        return Err("a retried task stays in a DRAINED shard, where nobody looks");
    }
    assert_eq!(succeeded(&client, &task.id).await.attempt, 2);
    Ok(())
}
with_and_without_its_guard!(
    old_task,
    Shape::default(),
    off & ["retry.reopens", "drain.looks_again"],
    "a retried task stays in a DRAINED shard, where nobody looks"
);

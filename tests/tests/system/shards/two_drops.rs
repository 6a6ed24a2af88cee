//! A shard is dropped by hand while the duty looks at what is being dropped. Its type keeps its
//! tasks for ever, so the duty, left to itself, would take the drop for one that a dead governor
//! began and undo it.

use asyncflow_proto::v1::ShardState;
use asyncflow_tests::{Cluster, Seen, Shape};

use super::run_one;

async fn two_drops(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let task = run_one(&client).await;
    governor.roll().await;
    governor.until_state(1, ShardState::Drained).await;

    let stop = cluster.governors[0].faults().stop_at("drop.allowed");
    let dropping = tokio::spawn({
        let governor = governor.clone();
        async move { governor.try_drop(1).await }
    });
    stop.reached().await;
    governor.run("drop").await;
    stop.go_on();
    let dropped = dropping.await.unwrap();

    // Undone by the other, or half of it, it says that it dropped the shard all the same.
    let is_gone = dropped.is_ok_and(|dropped| dropped.rows == 1)
        && governor.shard(1).await.state() == ShardState::Gone
        && client.get(&task.id).await.is_err();
    if !is_gone {
        return Err("a drop is undone while it is under way");
    }
    Ok(())
}
with_and_without_its_guard!(
    two_drops, Shape::default(), off &["drop.one_at_a_time"],
    "a drop is undone while it is under way": sqlite Sqlite, postgres Postgres
);

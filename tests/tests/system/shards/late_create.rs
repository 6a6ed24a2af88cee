//! A broker that has looked where new tasks go stands still; meanwhile the type is rolled over, and
//! the shard that it is about to write into is DRAINED, or dropped. What it then writes is run.

use asyncflow_proto::v1::{ShardState, TaskState};
use asyncflow_tests::{Cluster, Seen, Shape, sh};

use super::{run_one, succeeded, until_all_have_read_the_registry};

async fn into_a_drained_shard(cluster: &mut Cluster, off: &[&str]) -> Seen {
    late_create(cluster, off, false).await
}
with_and_without_its_guard!(
    into_a_drained_shard,
    Shape::default(),
    off & ["insert.hands_over", "insert.reopens", "drain.looks_again"],
    "a created task stays in a DRAINED shard, where nobody looks"
);

async fn into_a_dropped_shard(cluster: &mut Cluster, off: &[&str]) -> Seen {
    late_create(cluster, off, true).await
}
with_and_without_its_guard!(
    into_a_dropped_shard,
    Shape::default(),
    off & ["insert.looks_again"],
    "the create fails"
);

async fn late_create(cluster: &mut Cluster, off: &[&str], drops: bool) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    run_one(&client).await;

    let stop = cluster.brokers[0].faults().stop_at("insert.placed");
    let late = cluster.client_without_retries(0);
    let late = tokio::spawn(async move { late.create(sh("true")).await });
    stop.reached().await;
    governor.roll().await;
    governor.until_state(1, ShardState::Drained).await;
    if drops {
        governor.drop_shard(1).await;
    }
    until_all_have_read_the_registry(cluster).await;
    stop.go_on();

    let Ok(late) = late.await.unwrap() else { return Err("the create fails") };
    governor.run("drain").await;
    // A newer one is run.
    run_one(&client).await;
    let shard = governor.shard(1).await;
    let waits = client.get(&late.id).await.unwrap().state() == TaskState::Pending;
    if waits && shard.state() == ShardState::Drained && shard.live_rows > 0 {
        return Err("a created task stays in a DRAINED shard, where nobody looks");
    }
    assert_eq!(late.id.starts_with("command-1-"), !drops, "{}", late.id);
    succeeded(&client, &late.id).await;
    Ok(())
}

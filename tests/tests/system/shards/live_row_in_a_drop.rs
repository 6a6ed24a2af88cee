//! A task is retried while its shard is being dropped: the shard gets its tables back, and the task
//! is run to its end.

use asyncflow_proto::v1::ShardState;
use asyncflow_tests::{Cluster, Seen, Shape};

use super::{run_one, succeeded};

async fn live_row_in_a_drop(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let task = run_one(&client).await;
    governor.roll().await;
    governor.until_state(1, ShardState::Drained).await;

    let stop = cluster.governors[0].faults().stop_at("drop.begun");
    let dropping = tokio::spawn({
        let governor = governor.clone();
        async move { governor.try_drop(1).await }
    });
    stop.reached().await;
    client.retry(&task.id, true).await.unwrap();
    stop.go_on();
    let dropped = dropping.await.unwrap();

    if client.get(&task.id).await.is_err_and(|error| error.is_not_found()) {
        return Err("a live task was dropped");
    }
    assert!(dropped.is_err(), "{dropped:?}");
    assert_eq!(succeeded(&client, &task.id).await.attempt, 2);
    governor.drop_shard(1).await;
    assert_eq!(governor.shard_states().await, [ShardState::Gone, ShardState::Open]);
    Ok(())
}
with_and_without_its_guard!(
    live_row_in_a_drop,
    Shape::default(),
    off & ["drop.looks_again"],
    "a live task was dropped"
);

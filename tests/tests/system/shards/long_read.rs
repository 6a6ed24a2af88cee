//! Somebody reads a shard in a transaction that does not end, a backup or a forgotten console,
//! while it is to be dropped: the drop gives up, nobody waits for it, and it succeeds when the
//! reader has gone. Not on SQLite, whose readers are in nobody's way.

use std::time::Duration;

use asyncflow_proto::v1::ShardState;
use asyncflow_tests::{Cluster, Seen, Shape, Stopwatch};

use super::{run_one, until_all_have_read_the_registry};

/// Several times as long as the drop may wait.
const PATIENCE: Duration = Duration::from_secs(8);
const FAULT: &str = "those who read the shard wait behind its drop";

async fn long_read(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let (client, governor) = (cluster.client(0), cluster.governor(0).await);
    let task = run_one(&client).await;
    governor.roll().await;
    governor.until_state(1, ShardState::Drained).await;
    until_all_have_read_the_registry(cluster).await;
    let store = cluster.store().await;
    let shard = store.list_shards(None).await.unwrap().remove(0).id;
    let reader = store.hold_read(&shard).await.unwrap();

    let began = Stopwatch::start();
    let mut dropping = tokio::spawn({
        let governor = governor.clone();
        async move { governor.try_drop(1).await }
    });
    let mut longest = [Duration::ZERO; 2];
    while !dropping.is_finished() {
        let asked = Stopwatch::start();
        if tokio::time::timeout(PATIENCE, client.get(&task.id)).await.is_err() {
            return Err(FAULT);
        }
        longest[0] = longest[0].max(asked.elapsed());
        let asked = Stopwatch::start();
        run_one(&client).await;
        longest[1] = longest[1].max(asked.elapsed());
    }
    let refused = (&mut dropping).await.unwrap().unwrap_err();
    println!(
        "the drop gave up after {:?}; meanwhile a get took {:?} at most, a task from its creation \
         to its end {:?}",
        began.elapsed(),
        longest[0],
        longest[1]
    );
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    assert_eq!(governor.shard(1).await.state(), ShardState::Drained);
    client.get(&task.id).await.unwrap();

    drop(reader);
    governor.drop_shard(1).await;
    let gone = client.get(&task.id).await.unwrap_err();
    assert!(gone.has_reason("EXPIRED"), "{gone}");
    Ok(())
}
with_and_without_its_guard!(
    long_read, Shape::default(), off &["drop.lock_timeout"],
    "those who read the shard wait behind its drop": mariadb MariaDb, postgres Postgres
);

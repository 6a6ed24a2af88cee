//! The governor that leads is stopped (SIGSTOP) in the middle of a step; another one takes the
//! lead, finishes or undoes what was begun, and then the first one wakes up (SIGCONT): what it
//! still wants to write is refused, tables and registry agree, and no task is lost.

use std::time::Duration;

use asyncflow_proto::v1::ShardState::{self, Closed, Creating, Drained, Dropping, Open};
use asyncflow_tests::{Cluster, Governor, Seen, Shape, until};

use super::{run_one, succeeded};

const SHAPE: Shape = Shape { governors: 2, ..Shape::SMALL };

/// The old leader stands before its first change of the tables.
async fn before_the_rename(cluster: &mut Cluster, off: &[&str]) -> Seen {
    in_the_middle_of_a_drop(cluster, off, "drop.begun", Duration::ZERO).await
}
with_and_without_its_guard!(
    before_the_rename,
    SHAPE,
    off & ["leader.epoch"],
    "a task is lost by a drop of a governor that does not lead any more": sqlite Sqlite,
    postgres Postgres
);

/// On MySQL the named lock of the one that was stopped keeps the next from undoing the drop until
/// its connection is dead, also without the epoch.
async fn the_lock_keeps_the_next_away(backend: asyncflow_tests::Backend) {
    for off in [&[][..], &["leader.epoch"]] {
        assert_eq!(
            asyncflow_tests::guard::play(backend, SHAPE, off, before_the_rename).await,
            Ok(())
        );
    }
}
on_each_database!(the_lock_keeps_the_next_away: mariadb MariaDb);

/// It has asked for its epoch and found it in force. While it stands there on SQLite nobody can
/// write, so that nobody can take the lead. It wakes up only when a pool of connections would look
/// whether the one that it left lying is alive, and make another one.
async fn after_the_look_at_its_epoch(cluster: &mut Cluster, off: &[&str]) -> Seen {
    in_the_middle_of_a_drop(cluster, off, "ddl.checked", Duration::from_secs(35)).await
}

/// It has renamed the tables and found nothing that is to be kept.
async fn before_the_drop(cluster: &mut Cluster, off: &[&str]) -> Seen {
    in_the_middle_of_a_drop(cluster, off, "drop.allowed", Duration::ZERO).await
}

async fn is_well(
    backend: asyncflow_tests::Backend,
    scenario: impl AsyncFnOnce(&mut Cluster, &[&str]) -> Seen,
) {
    assert_eq!(asyncflow_tests::guard::play(backend, SHAPE, &[], scenario).await, Ok(()));
}

async fn the_look_is_out_of_date(backend: asyncflow_tests::Backend) {
    is_well(backend, after_the_look_at_its_epoch).await;
}
on_each_database!(the_look_is_out_of_date: mariadb MariaDb, postgres Postgres);

async fn the_drop_was_allowed(backend: asyncflow_tests::Backend) {
    is_well(backend, before_the_drop).await;
}
on_each_database!(the_drop_was_allowed);

/// In the middle of a transaction, with the leader's row locked: the database gives it up.
async fn inside_of_a_transaction(cluster: &mut Cluster, _: &[&str]) -> Seen {
    let client = cluster.client(0);
    run_one(&client).await;
    let old = cluster.leader().await;
    let stop = cluster.governors[old].faults().stop_at("leader.fenced");
    stop.reached().await;
    let next = take_over(cluster, old).await;
    next.roll().await;
    stop.go_on();
    cluster.governors[old].process().signal("CONT");
    run_one(&client).await;
    assert_eq!(next.shard_states().await.last(), Some(&Open));
    Ok(())
}

async fn its_transaction_is_given_up(backend: asyncflow_tests::Backend) {
    is_well(backend, inside_of_a_transaction).await;
}
on_each_database!(its_transaction_is_given_up: mariadb MariaDb, postgres Postgres);

/// A drop by hand of a type that keeps its tasks for ever: the next leader undoes it. The old one
/// wakes up after the next has done so, and not before `pause` is over.
async fn in_the_middle_of_a_drop(
    cluster: &mut Cluster,
    off: &[&str],
    point: &str,
    pause: Duration,
) -> Seen {
    cluster.switch_off(off);
    let client = cluster.client(0);
    let task = run_one(&client).await;
    let old = cluster.leader().await;
    let governor = cluster.governor(old).await;
    governor.roll().await;
    governor.until_state(1, Drained).await;
    let stop = cluster.governors[old].faults().stop_at(point);
    let dropping = tokio::spawn(async move { governor.try_drop(1).await });
    stop.reached().await;

    let next = take_over(cluster, old).await;
    until("the next leader has undone the drop", || async {
        matches!(next.shard(1).await.state(), Closed | Drained).then_some(())
    })
    .await;
    tokio::time::sleep(pause).await;
    stop.go_on();
    cluster.governors[old].process().signal("CONT");
    let answer = dropping.await.unwrap();

    let Ok(found) = cluster.client_without_retries(0).get(&task.id).await else {
        return Err("a task is lost by a drop of a governor that does not lead any more");
    };
    assert_eq!(found.state(), task.state());
    assert!(answer.is_err(), "{answer:?}");
    let states = next.shard_states().await;
    assert!(matches!(states[..], [Closed | Drained, Open]), "{states:?}");
    client.retry(&task.id, true).await.unwrap();
    succeeded(&client, &task.id).await;
    next.until_state(1, Drained).await;
    next.drop_shard(1).await;
    run_one(&client).await;
    Ok(())
}

async fn in_the_middle_of_a_roll(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let client = cluster.client(0);
    let task = run_one(&client).await;
    let old = cluster.leader().await;
    let governor = cluster.governor(old).await;
    let stop = cluster.governors[old].faults().stop_at("roll.created");
    let rolling = tokio::spawn(async move { governor.try_roll().await });
    stop.reached().await;

    let next = take_over(cluster, old).await;
    // The leader's own duty goes on with the roll, too, if this comes late.
    match next.shard_states().await[..] {
        [Open, Creating] => assert_eq!(next.roll().await, 2),
        ref states => assert!(matches!(states, [Closed | Drained, Open]), "{states:?}"),
    }
    // The broker hears of it within two seconds.
    while next.shard(2).await.rows == 0 {
        run_one(&client).await;
    }
    assert_eq!(next.roll().await, 3);
    stop.go_on();
    cluster.governors[old].process().signal("CONT");
    if rolling.await.unwrap().is_ok() {
        return Err("a governor that does not lead any more rolls a type over");
    }
    let states = next.shard_states().await;
    let is_older = |state: &ShardState| matches!(state, Closed | Drained);
    assert!(states[..2].iter().all(is_older) && states[2..] == [Open], "{states:?}");
    assert!(!states.contains(&Dropping));
    client.retry(&task.id, true).await.unwrap();
    succeeded(&client, &task.id).await;
    run_one(&client).await;
    Ok(())
}
with_and_without_its_guard!(
    in_the_middle_of_a_roll,
    SHAPE,
    off & ["leader.epoch"],
    "a governor that does not lead any more rolls a type over"
);

/// Stops the leader as it stands; gives the one that leads after it.
async fn take_over(cluster: &Cluster, old: usize) -> Governor {
    cluster.freeze_governor(old).await;
    let next = cluster.leader().await;
    assert_ne!(next, old);
    cluster.governor(next).await
}

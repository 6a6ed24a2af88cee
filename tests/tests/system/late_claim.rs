//! A broker stands still between its look at what is PENDING and its claim; meanwhile somebody else
//! changes the task. The claim compares, whatever lock the broker holds.

use asyncflow_proto::v1::TaskState;
use asyncflow_tests::{Cluster, Seen, Shape, redis, sh};

async fn of_a_cancelled_task(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let client = cluster.client(0);
    let ran = cluster.scratch().join("ran");
    let stop = cluster.brokers[0].faults().stop_at("claim.found");
    let task = client.create(sh(&format!("echo >> {}", ran.display()))).await.unwrap();
    stop.reached().await;
    let cancelled = client.cancel(&task.id, "").await.unwrap();
    assert_eq!(cancelled.state(), TaskState::Cancelled);
    stop.go_on();

    // There is one slot, which this claim has in its hands: the next task gets it afterwards.
    let next = client.create(sh("true")).await.unwrap();
    let next = client.wait(&next.id, None).await.unwrap();
    assert_eq!(next.state(), TaskState::Succeeded);
    if ran.exists() {
        return Err("a cancelled task runs");
    }
    assert_eq!(client.get(&task.id).await.unwrap().state(), TaskState::Cancelled);
    Ok(())
}
with_and_without_its_guard!(
    of_a_cancelled_task,
    Shape { slots: 1, ..Shape::SMALL },
    off & ["update.compares"],
    "a cancelled task runs"
);

/// The broker holds the lock of the claims; then Redis loses it, and another broker claims.
async fn by_a_lock_that_was_lost(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let client = cluster.client(1);
    let ran = cluster.scratch().join("ran");
    let stop = cluster.brokers[0].faults().stop_at("claim.found");
    let worker = cluster.start_worker_by(0, std::iter::once(cluster.broker_address(0)));
    cluster.workers.push(worker);
    let task = client.create(sh(&format!("echo >> {}", ran.display()))).await.unwrap();
    stop.reached().await;
    redis::told(cluster.redis.as_ref().unwrap(), "FLUSHALL");
    let worker = cluster.start_worker_by(1, std::iter::once(cluster.broker_address(1)));
    cluster.workers.push(worker);
    let ended = client.wait(&task.id, None).await.unwrap();
    assert_eq!((ended.state(), ended.worker_id.as_str()), (TaskState::Succeeded, "worker-1"));
    cluster.workers.pop();
    stop.go_on();

    // The first worker has one slot, which the first broker's claim has in its hands.
    let next = client.create(sh("true")).await.unwrap();
    let next = client.wait(&next.id, None).await.unwrap();
    assert_eq!((next.state(), next.worker_id.as_str()), (TaskState::Succeeded, "worker-0"));
    if std::fs::read_to_string(ran).unwrap().lines().count() > 1 {
        return Err("a task that has succeeded runs again");
    }
    assert_eq!(client.attempts(&task.id).await.unwrap().len(), 1);
    Ok(())
}
with_and_without_its_guard!(
    by_a_lock_that_was_lost,
    Shape { brokers: 2, workers: 0, slots: 1, redis: true, ..Shape::SMALL },
    off & ["update.compares", "attempts.end_once"],
    "a task that has succeeded runs again": mariadb MariaDb, postgres Postgres
);

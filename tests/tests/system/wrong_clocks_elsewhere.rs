//! The clocks of workers, brokers and the governor are a day ahead or a day behind, only the
//! database's goes right: order, leases, retries and start times are by that one. With SQLite
//! brokers and governor are the database, and the workers alone are wrong.

use asyncflow_proto::{
    time::{duration, timestamp, timestamp_ms},
    v1::{OptionalRetryPolicy, Task, TaskSpec, TaskState},
};
use asyncflow_sdk::Client;
use asyncflow_store::{Store, testing::ShiftedClock};
use asyncflow_tests::{Backend, Cluster, LEASE, Shape, runs_until, sh, until};

const DAY_S: i64 = 24 * 3_600;
/// Longer than the watches of two brokers, which both ask the database, may be apart.
const APART_MS: i64 = 300;
const BACK_OFF_MS: i64 = 1_000;
const DELAY_MS: i64 = 2_000;

/// Returns when it is later than this by the database's clock.
async fn until_it_is(store: &Store, time_ms: i64) {
    until("time passes", || async { (store.now_ms().await.unwrap() > time_ms).then_some(()) })
        .await;
}

async fn until_attempt(client: &Client, id: &str, attempt: i32) -> Task {
    until("the attempt runs", || async {
        let task = client.get(id).await.unwrap();
        (task.attempt == attempt && task.start_time.is_some()).then_some(task)
    })
    .await
}

async fn nothing_goes_by_them(backend: Backend) {
    let (ahead, behind) = (ShiftedClock::new(), ShiftedClock::new());
    ahead.shift(DAY_S);
    behind.shift(-DAY_S);
    let mut clocks = vec![("worker-0", &ahead), ("worker-1", &behind)];
    if backend != Backend::Sqlite {
        clocks.extend([("broker-0", &ahead), ("broker-1", &behind), ("governor-0", &ahead)]);
    }
    let shape = Shape { brokers: 2, workers: 0, slots: 1, ..Shape::default() };
    let mut cluster = Cluster::start_with_clocks(backend, shape, &clocks).await;
    let (clients, store) = ([cluster.client(0), cluster.client(1)], cluster.store().await);

    let order = cluster.scratch().join("order");
    for number in 0..6 {
        let script = format!("echo {number} >> {}", order.display());
        clients[number % 2].create(sh(&script)).await.unwrap();
        until_it_is(&store, store.now_ms().await.unwrap() + APART_MS).await;
    }
    let go = cluster.scratch().join("go");
    let long = clients[1].create(runs_until(&go)).await.unwrap().id;
    let worker = cluster.start_worker(0);
    cluster.workers.push(worker);
    let started = until_attempt(&clients[0], &long, 1).await;
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "0\n1\n2\n3\n4\n5\n");

    let worker = cluster.start_worker(1);
    cluster.workers.push(worker);
    let retry = OptionalRetryPolicy { interval: Some(duration(BACK_OFF_MS)), ..Default::default() };
    let failing = sh(r#"[ "$ASYNCFLOW_ATTEMPT" = 2 ]"#);
    let failing = TaskSpec { retry: Some(retry), ..failing };
    let not_before_ms = store.now_ms().await.unwrap() + DELAY_MS;
    let late = TaskSpec { not_before: Some(timestamp(not_before_ms)), ..sh("true") };
    let failing = clients[0].create(failing).await.unwrap().id;
    let late = clients[1].create(late).await.unwrap().id;
    let ms = |stamp: Option<_>| timestamp_ms(&stamp.unwrap()).unwrap();
    let task = clients[1].wait(&failing, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 2), "{}", cluster.logs());
    let attempts = clients[1].attempts(&failing).await.unwrap();
    let pause_ms = ms(attempts[1].start_time) - ms(attempts[0].end_time);
    assert!(pause_ms >= BACK_OFF_MS / 2, "{pause_ms}");
    let task = clients[0].wait(&late, None).await.unwrap();
    let began_ms = ms(task.start_time);
    assert!(began_ms >= not_before_ms, "{began_ms} {not_before_ms}");

    until_it_is(&store, ms(started.start_time) + LEASE.as_millis() as i64 + 2_000).await;
    let task = clients[0].get(&long).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 1), "{}", cluster.logs());
    cluster.workers[0].kill();
    until_attempt(&clients[0], &long, 2).await;
    std::fs::write(&go, "").unwrap();
    let task = clients[0].wait(&long, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 2, 1), "{}", cluster.logs());
    store.close().await;
}
on_each_database!(nothing_goes_by_them);

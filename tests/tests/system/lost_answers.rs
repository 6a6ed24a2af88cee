//! Calls arrive, and their answers are lost: what was done is done once, and whoever repeats the
//! call is told of that.

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest, TaskState};
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_store::Store;
use asyncflow_tests::{
    Backend, Cluster, LEASE, Shape, Stopwatch, command,
    proxy::{Direction, Flow, Proxy},
    runs_until, sh, until, until_started,
};

const CREATES: i64 = 3;
/// Longer than a lease and two looks.
const LONG_MS: i64 = LEASE.as_millis() as i64 + 3_000;

/// A broker and a worker that reaches it through a proxy.
async fn behind_a_proxy(backend: Backend) -> (Cluster, Proxy) {
    let mut cluster = Cluster::start(backend, Shape { workers: 0, ..Shape::default() }).await;
    let link = Proxy::start(&cluster.broker_address(0));
    let worker = cluster.start_worker_by(0, std::iter::once(link.address()));
    cluster.workers.push(worker);
    cluster.until_workers_registered(1).await;
    (cluster, link)
}

fn restart_broker(cluster: &mut Cluster, link: &Proxy) {
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    link.heal();
    link.reset();
}

/// The broker is killed when the create is committed and its answer has got lost.
async fn a_create_is_repeated(backend: Backend) {
    let shape = Shape { workers: 0, governors: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let door = Proxy::start(&cluster.broker_address(0));
    let address = format!("http://{}", door.address());
    let options = ClientOptions { address, retries_max: 0, ..ClientOptions::default() };
    let (through, client) = (Client::connect(options).unwrap(), cluster.client(0));
    let total = || async { client.count(CountTasksRequest::default()).await.unwrap().total };
    for number in 1..=CREATES {
        let request = CreateTaskRequest {
            task: Some(command(["true"])),
            request_id: format!("request-{number}"),
            ..CreateTaskRequest::default()
        };
        door.set(Direction::Down, Flow::Swallow);
        let (one, first) = (through.clone(), request.clone());
        let unheard = tokio::spawn(async move { one.create_with(first).await });
        until("it is committed", || async { (total().await == number).then_some(()) }).await;
        restart_broker(&mut cluster, &door);
        let error = unheard.await.unwrap().unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let again = client.create_with(request).await.unwrap();
        assert!(again.deduplicated);
        assert_eq!(total().await, number);
    }
}
on_each_database!(a_create_is_repeated);

/// The broker is killed when a task is claimed and the worker has not heard of it.
async fn a_claimed_task_is_given_again(backend: Backend) {
    let (mut cluster, link) = behind_a_proxy(backend).await;
    let client = cluster.client(0);
    let runs = cluster.scratch().join("runs");
    // The worker is registered when the broker says so; it knows its session when it runs a task.
    let first = client.create(sh("true")).await.unwrap();
    client.wait(&first.id, None).await.unwrap();
    link.set(Direction::Down, Flow::Swallow);
    let created = client.create(sh(&format!("echo run >> {}", runs.display()))).await.unwrap();
    until("it is claimed", || async {
        (client.get(&created.id).await.unwrap().attempt == 1).then_some(())
    })
    .await;
    restart_broker(&mut cluster, &link);
    let restarted = Stopwatch::start();
    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.crashes, task.failures);
    assert_eq!(counts, (TaskState::Succeeded, 0, 0), "{}", cluster.logs());
    restarted.tell("it has run");
    assert_eq!(std::fs::read_to_string(&runs).unwrap(), "run\n");
}
on_each_database!(a_claimed_task_is_given_again);

/// Returns when so much time has passed by the database's clock.
async fn pass(store: &Store, time_ms: i64) {
    let began_ms = store.now_ms().await.unwrap();
    until("time passes", || async {
        (store.now_ms().await.unwrap() > began_ms + time_ms).then_some(())
    })
    .await;
}

/// The worker is heard and hears nothing, for longer than a lease: its heartbeats count, and the
/// end that it tells again is known.
async fn who_is_heard_keeps_its_task(backend: Backend) {
    let (cluster, link) = behind_a_proxy(backend).await;
    let (client, store) = (cluster.client(0), cluster.store().await);
    let go = cluster.scratch().join("go");
    let created = client.create(runs_until(&go)).await.unwrap();
    until_started(&client, &created.id).await;
    link.set(Direction::Down, Flow::Swallow);
    pass(&store, LONG_MS).await;
    let task = client.get(&created.id).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 1), "{}", cluster.logs());

    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 1, 0), "{}", cluster.logs());
    let data = cluster.scratch().join("worker-0/data");
    let entry = data.join(format!("journal/{}.1.complete", created.id));
    assert!(entry.is_file(), "the worker has not heard that it is recorded");
    link.heal();
    until("the worker has heard it", || async { (!entry.exists()).then_some(()) }).await;
    assert_eq!(std::fs::read_dir(data.join("rejected")).unwrap().count(), 0);
    assert_eq!(client.attempts(&created.id).await.unwrap().len(), 1);
    store.close().await;
}
on_each_database!(who_is_heard_keeps_its_task);

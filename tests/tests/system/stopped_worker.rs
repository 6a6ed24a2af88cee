//! SIGSTOP of a worker past its lease, then SIGCONT while the second attempt runs: each of its late
//! writes is refused. The pause outlives lease and reaping, and the task outlives the pause, or the
//! fault would stay invisible.

use asyncflow_proto::{
    time::timestamp_ms,
    v1::{AttemptOutcome, TaskState},
};
use asyncflow_tests::{
    Backend, Cluster, LEASE, Shape,
    proxy::{Direction, Flow, Proxy},
    runs_until, sh, until, until_started,
};

async fn late_writes_are_refused(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"while [ ! -e {0}$ASYNCFLOW_ATTEMPT ]; do sleep 0.05; done
        printf '{{"event":"context","data":"%s","stage":"late"}}\n' $ASYNCFLOW_ATTEMPT \
            >> "$ASYNCFLOW_EVENTS"
        printf '{{"event":"result","data":"%s"}}\n' $ASYNCFLOW_ATTEMPT >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    );
    let go = |attempt: i32| std::fs::write(format!("{}{attempt}", go.display()), "").unwrap();
    let created = client.create(sh(&script)).await.unwrap();
    let started = |attempt: i32| {
        let (client, id) = (client.clone(), created.id.clone());
        async move {
            until("the attempt has started", || async {
                let task = client.get(&id).await.unwrap();
                (task.attempt >= attempt && task.start_time.is_some()).then_some(task)
            })
            .await
        }
    };
    let first = started(1).await;
    let holder: usize = first.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
    let stopped = cluster.workers[holder].process();
    stopped.signal("STOP");
    // Usually the second attempt. But the stopped worker may stand first in the line of those who
    // wait for a task: then it is handed the second one, does not start it, and it goes back.
    let second = started(2).await;
    let number = second.attempt;
    assert_ne!(second.worker_id, first.worker_id);

    // The first attempt's process ends well, and its worker wakes up to tell.
    go(1);
    stopped.signal("CONT");
    until("the worker has been told that its lease is lost", || async {
        stopped.log().contains("another attempt is in force").then_some(())
    })
    .await;
    let between = client.get(&created.id).await.unwrap();
    assert_eq!((between.state(), between.attempt), (TaskState::Running, number));
    assert_eq!((between.stage.as_str(), between.context_version), ("", 0));

    go(number);
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{}", cluster.logs());
    assert_eq!(task.result.unwrap().data, format!("\"{number}\""));
    let attempts = client.attempts(&created.id).await.unwrap();
    let started = attempts.iter().filter(|attempt| attempt.start_time.is_some());
    let outcomes: Vec<_> = started.map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Succeeded]);
}
on_each_database!(late_writes_are_refused);

/// SIGSTOP for less than a lease: nobody has noticed.
async fn a_short_stop_costs_nothing(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let created = client.create(runs_until(&go)).await.unwrap();
    let running = until_started(&client, &created.id).await;
    let holder: usize = running.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
    let store = cluster.store().await;
    cluster.workers[holder].process().signal("STOP");
    until("it is silent for half of its lease", || async {
        let workers = client.workers().await.unwrap();
        let stopped = workers.iter().find(|worker| worker.worker_id == running.worker_id)?;
        let heard_ms = timestamp_ms(&stopped.heartbeat_time?)?;
        let silent_ms = store.now_ms().await.unwrap() - heard_ms;
        (silent_ms > LEASE.as_millis() as i64 / 2).then_some(())
    })
    .await;
    cluster.workers[holder].process().signal("CONT");
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 1, 0), "{}", cluster.logs());
    assert_eq!(task.worker_id, running.worker_id);
    assert_eq!(client.attempts(&created.id).await.unwrap().len(), 1);
    store.close().await;
}
on_each_database!(a_short_stop_costs_nothing);

/// What a worker has sent while its lease was in force arrives when another attempt runs, as if it
/// had been stopped between its last look at the lease and the call: the database refuses it.
async fn a_call_that_was_on_its_way_is_refused(backend: Backend) {
    let shape = Shape { workers: 0, slots: 1, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let (client, link) = (cluster.client(0), Proxy::start(&cluster.broker_address(0)));
    let worker = cluster.start_worker_by(0, std::iter::once(link.address()));
    cluster.workers.push(worker);
    let go = cluster.scratch().join("go");
    let script = format!(
        r#"while [ ! -e {0}$ASYNCFLOW_ATTEMPT ]; do sleep 0.05; done
        printf '{{"event":"result","data":"%s"}}\n' $ASYNCFLOW_ATTEMPT >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    );
    let go = |attempt: i32| std::fs::write(format!("{}{attempt}", go.display()), "").unwrap();
    let id = client.create(sh(&script)).await.unwrap().id;
    let on = |worker: &'static str| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            until("it runs there", || async {
                let task = client.get(&id).await.unwrap();
                (task.worker_id == worker && task.start_time.is_some()).then_some(task)
            })
            .await
        }
    };
    assert_eq!(on("worker-0").await.attempt, 1);

    // Its end is decided, and every byte of the call is on its way.
    link.set(Direction::Up, Flow::Hold);
    go(1);
    let data = cluster.scratch().join("worker-0/data");
    let entry = format!("{id}.1.complete");
    until("the worker tells the end", || async {
        data.join("journal").join(&entry).exists().then_some(())
    })
    .await;
    let worker = cluster.start_worker(1);
    cluster.workers.push(worker);
    assert_eq!(on("worker-1").await.attempt, 2);
    link.set(Direction::Up, Flow::Forward);
    until("the call is refused", || async {
        data.join("rejected").join(&entry).exists().then_some(())
    })
    .await;
    let task = client.get(&id).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Running, 2), "{}", cluster.logs());

    go(2);
    let task = client.wait(&id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{}", cluster.logs());
    assert_eq!(task.result.unwrap().data, r#""2""#);
    let attempts = client.attempts(&id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Lost, AttemptOutcome::Succeeded]);
}
on_each_database!(a_call_that_was_on_its_way_is_refused);

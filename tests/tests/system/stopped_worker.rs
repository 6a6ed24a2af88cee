//! SIGSTOP of a worker past its lease, then SIGCONT while the second attempt runs: each of its late
//! writes is refused. The pause outlives lease and reaping, and the task outlives the pause, or the
//! fault would stay invisible.

use asyncflow_proto::{
    time::timestamp_ms,
    v1::{AttemptOutcome, TaskState},
};
use asyncflow_tests::{Backend, Cluster, LEASE, Shape, runs_until, sh, until, until_started};

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

//! Two governors: the one that leads is killed, then a worker; the other takes the lead and takes
//! the task back.

use asyncflow_proto::v1::TaskState;
use asyncflow_tests::{Backend, Cluster, Shape, runs_until, sh, until, until_started};

async fn the_other_takes_over(backend: Backend) {
    let shape = Shape { workers: 2, governors: 2, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let first = cluster.leader().await;
    let script = r#"[ "$ASYNCFLOW_ATTEMPT" = 2 ] || exec sleep 100"#;
    let created = client.create(sh(script)).await.unwrap();
    let running = until_started(&client, &created.id).await;

    cluster.governors[first].kill();
    let holder: usize = running.worker_id.strip_prefix("worker-").unwrap().parse().unwrap();
    cluster.workers[holder].kill();

    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 2), "{}", cluster.logs());
    assert_ne!(cluster.leader().await, first);
    // It is back, stands by, and clears what it left on its host.
    cluster.governors[first].restart();
    cluster.workers[holder].restart();
    assert_ne!(cluster.leader().await, first);
}
on_each_database!(the_other_takes_over);

/// The one that leads is stopped with a suspicion in mind, another takes the lead and the task, and
/// then it wakes up: its term is over, and nothing is taken back twice.
async fn a_stopped_one_comes_too_late(backend: Backend) {
    let shape = Shape { workers: 2, governors: 2, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let first = cluster.leader().await;
    let go = cluster.scratch().join("go");
    let created = client.create(runs_until(&go)).await.unwrap();
    let running = |attempt: i32| {
        let (client, id) = (client.clone(), created.id.clone());
        async move {
            until("it runs", || async {
                let task = client.get(&id).await.unwrap();
                (task.attempt == attempt && task.start_time.is_some()).then_some(task)
            })
            .await
        }
    };
    let holder = running(1).await.worker_id;
    let holder: usize = holder.strip_prefix("worker-").unwrap().parse().unwrap();
    cluster.workers[holder].kill();
    cluster.freeze_governor(first).await;
    running(2).await;
    cluster.governors[first].process().signal("CONT");
    until("the first knows that its term is over", || async {
        cluster.governors[first].process().log().contains("not leading any more").then_some(())
    })
    .await;
    assert_ne!(cluster.leader().await, first);
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 2, 1), "{}", cluster.logs());
    cluster.workers[holder].restart();
}
on_each_database!(a_stopped_one_comes_too_late: mariadb MariaDb, sqlite Sqlite);

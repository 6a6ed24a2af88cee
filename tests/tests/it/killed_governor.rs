//! Two governors: the one that leads is killed, then a worker; the other takes the lead and takes
//! the task back.

use asyncflow_proto::v1::TaskState;
use asyncflow_tests::{Backend, Cluster, Shape, sh, until};

async fn the_other_takes_over(backend: Backend) {
    let shape = Shape { workers: 2, governors: 2, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let first = cluster.leader().await;
    let script = r#"[ "$ASYNCFLOW_ATTEMPT" = 2 ] || exec sleep 100"#;
    let created = client.create(sh(script)).await.unwrap();
    let running = until("it runs", || async {
        let task = client.get(&created.id).await.unwrap();
        task.start_time.is_some().then_some(task)
    })
    .await;

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

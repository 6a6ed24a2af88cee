//! A worker is told to detach: it ends, what runs goes on, and the next one adopts it.

use asyncflow_proto::v1::{TaskState, UpdateHostRequest};
use asyncflow_tests::{Backend, Cluster, is_alive, until};

use super::scene::{on_one_gpu, shape, until_lines};

async fn the_next_worker_adopts_what_runs(backend: Backend) {
    let mut cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let (pids, go) = (cluster.scratch().join("pids"), cluster.scratch().join("go"));
    let script = format!(
        "echo $$ >> {}; while [ ! -e {} ]; do sleep 0.05; done",
        pids.display(),
        go.display()
    );
    let created = client.create(on_one_gpu(&script)).await.unwrap();
    let pid = until_lines(&pids, 1).await.remove(0);
    let request = UpdateHostRequest {
        worker_id: "worker-0".to_owned(),
        detach: true,
        ..UpdateHostRequest::default()
    };
    client.update_host(request).await.unwrap();
    until("the worker has ended", || async {
        (!cluster.workers[0].process().is_alive()).then_some(())
    })
    .await;
    assert!(is_alive(&pid), "what ran goes on");
    cluster.workers[0].restart();
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.attempt, task.crashes), (1, 0));
    assert_eq!(until_lines(&pids, 1).await, [pid.as_str()], "it ran once");
    // The order was for the worker that has ended, not for this one.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(cluster.workers[0].process().is_alive());
}
on_each_database!(the_next_worker_adopts_what_runs: sqlite Sqlite);

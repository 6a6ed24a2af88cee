//! Somebody starts a process between the look of which the broker knows and the launch: the task
//! goes back without having run, and no failure is counted.

use asyncflow_proto::v1::{GpuState, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, until};

use super::scene::{on_one_gpu, shape, until_state};

async fn a_launch_is_preceded_by_a_look(backend: Backend) {
    // After the first look the worker would not look again within this test.
    let settings = &[("GPU__SAMPLE_INTERVAL_MS", "60000")];
    let cluster = Cluster::start(backend, Shape { settings, ..shape(1) }).await;
    let client = cluster.client(0);
    until_state(&client, 0, 0, GpuState::Ready).await;
    cluster.gpus(0).stranger(0, 4_000_777, "bob", 20 << 10);
    let file = cluster.scratch().join("ran");
    let script = format!("echo ran > {}", file.display());
    let created = client.create(on_one_gpu(&script)).await.unwrap();
    let given_back = until("it was claimed and has gone back", || async {
        let task = client.get(&created.id).await.unwrap();
        (task.attempt > 0 && task.state() == TaskState::Pending).then_some(task)
    })
    .await;
    assert_eq!((given_back.failures, given_back.crashes), (0, 0));
    until_state(&client, 0, 0, GpuState::Foreign).await;
    let task = client.get(&created.id).await.unwrap();
    assert_eq!(task.state(), TaskState::Pending, "it waits: {}", cluster.logs());
    assert!(!file.exists());
}
on_each_database!(a_launch_is_preceded_by_a_look: sqlite Sqlite);

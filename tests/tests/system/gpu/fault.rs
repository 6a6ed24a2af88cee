//! Faults of the program are charged to the task; faults of the GPU are not, and keep others away.

use asyncflow_proto::v1::{GpuState, TaskState};
use asyncflow_tests::{Backend, Cluster};

use super::scene::{on_one_gpu, shape, until_lines, until_state};

/// XID 31: the program touched memory that is not its own. It fails, and the GPU stays in use.
async fn an_application_fault_is_the_tasks(backend: Backend) {
    let cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let (began, go) = (cluster.scratch().join("began"), cluster.scratch().join("go"));
    let script = format!(
        "echo > {}; while [ ! -e {} ]; do sleep 0.05; done; exit 1",
        began.display(),
        go.display()
    );
    let mut spec = on_one_gpu(&script);
    spec.retry = Some(asyncflow_proto::v1::OptionalRetryPolicy {
        max_retries: Some(0),
        ..Default::default()
    });
    let created = client.create(spec).await.unwrap();
    until_lines(&began, 1).await;
    cluster.gpus(0).fault(0, 31);
    // Two looks, so that the fault is known before the program ends of it.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!((task.state(), task.failures), (TaskState::Failed, 1), "{}", cluster.logs());
    let message = task.failure.unwrap().message;
    assert!(message.contains("XID 31"), "{message}");
    until_state(&client, 0, 0, GpuState::Ready).await;
}
on_each_database!(an_application_fault_is_the_tasks: sqlite Sqlite);

/// XID 79: the GPU has fallen off the bus. The task goes on with another one.
async fn a_fault_of_the_gpu_sends_the_task_elsewhere(backend: Backend) {
    let cluster = Cluster::start(backend, shape(2)).await;
    let client = cluster.client(0);
    let file = cluster.scratch().join("seen");
    let script = format!(
        "echo \"$CUDA_VISIBLE_DEVICES\" >> {0}; [ \"$(wc -l < {0})\" = 2 ] || exec sleep 300",
        file.display()
    );
    let created = client.create(on_one_gpu(&script)).await.unwrap();
    let first = until_lines(&file, 1).await.remove(0);
    let broken: usize = first.parse().unwrap();
    cluster.gpus(0).fault(broken, 79);
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.failures, task.crashes), (0, 0));
    let seen = until_lines(&file, 2).await;
    assert_ne!(seen[0], seen[1], "the second attempt has the other GPU");
    let gpu = until_state(&client, 0, broken, GpuState::Quarantined).await;
    assert!(gpu.reason.contains("79") && gpu.until.is_some(), "{gpu:?}");

    // An operator says that it may be used again.
    client.update_gpu("worker-0", &gpu.uuid, false).await.unwrap();
    until_state(&client, 0, broken, GpuState::Ready).await;
}
on_each_database!(a_fault_of_the_gpu_sends_the_task_elsewhere: sqlite Sqlite);

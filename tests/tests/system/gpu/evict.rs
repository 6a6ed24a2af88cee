//! A GPU is evicted: its task saves, stops, and goes on with another GPU from what it saved.

use asyncflow_proto::v1::{GpuState, TaskState};
use asyncflow_tests::{Backend, Cluster};

use super::scene::{on_one_gpu, shape, until_lines, until_state};

async fn the_task_goes_on_elsewhere(backend: Backend) {
    let cluster = Cluster::start(backend, shape(2)).await;
    let client = cluster.client(0);
    let file = cluster.scratch().join("seen");
    let script = format!(
        r#"echo "$CUDA_VISIBLE_DEVICES" >> {}
        if [ -n "$ASYNCFLOW_STAGE" ]; then cat "$ASYNCFLOW_CONTEXT"; exit 0; fi
        trap 'echo "{{\"event\":\"context\",\"data\":{{\"step\":7}},\"stage\":\"saved\"}}" \
            >> "$ASYNCFLOW_EVENTS"; exit 85' TERM
        while :; do sleep 0.05; done"#,
        file.display()
    );
    let created = client.create(on_one_gpu(&script)).await.unwrap();
    let first: usize = until_lines(&file, 1).await[0].parse().unwrap();
    super::scene::until_gpu(&client, 0, first, |gpu| !gpu.task_ids.is_empty()).await;
    let uuid = cluster.gpus(0).uuid(first);
    let answer = client.evict_gpu("worker-0", &uuid).await.unwrap();
    assert_eq!(answer.task_ids, [created.id.as_str()]);
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.failures, task.crashes, task.stage.as_str()), (0, 0, "saved"));
    assert_eq!(task.context.unwrap().data, br#"{"step":7}"#[..]);
    let seen = until_lines(&file, 2).await;
    assert_ne!(seen[0], seen[1]);
    until_state(&client, 0, first, GpuState::Cordoned).await;
}
on_each_database!(the_task_goes_on_elsewhere: sqlite Sqlite);

//! An operator hands a running task over: another host goes on with it, from what he says.

use asyncflow_proto::v1::{Content, HandOverTaskRequest, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape};

use super::scene::{number, on_one_gpu, shape, until_gpu, until_lines, until_started};

async fn the_other_host_goes_on(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 2, ..shape(1) }).await;
    let client = cluster.client(0);
    let (began, file) = (cluster.scratch().join("began"), cluster.scratch().join("went-on"));
    let script = format!(
        r#"echo >> {}
        if [ -s "$ASYNCFLOW_CONTEXT" ]; then cat "$ASYNCFLOW_CONTEXT" > {}; exit 0; fi
        exec sleep 300"#,
        began.display(),
        file.display()
    );
    let created = client.create(on_one_gpu(&script)).await.unwrap();
    until_lines(&began, 1).await;
    let first = until_started(&client, &created.id).await;
    let holder = number(&first.worker_id);
    until_gpu(&client, holder, 0, |gpu| !gpu.task_ids.is_empty()).await;
    let context = Content { data: br#"{"offset":100000}"#[..].into(), content_type: String::new() };
    let request = HandOverTaskRequest {
        task_id: created.id.clone(),
        context: Some(context),
        message: "the host is needed".to_owned(),
    };
    client.hand_over(request).await.unwrap();
    let task = client.wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.failures, task.crashes), (0, 0));
    assert_ne!(task.worker_id, first.worker_id, "another host has it");
    assert_eq!(std::fs::read(&file).unwrap(), br#"{"offset":100000}"#);
}
on_each_database!(the_other_host_goes_on: sqlite Sqlite);

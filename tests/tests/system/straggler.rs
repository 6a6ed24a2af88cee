//! A task hangs on one host while its like take a moment: it gets a twin on the other host, ends
//! with the twin's result, and what hangs is killed.

use asyncflow_proto::v1::{
    AttemptOutcome, FailureReason, Speculation, TaskState, TaskType, UpdateTaskTypeRequest,
};
use asyncflow_tests::{Backend, Cluster, Shape, is_alive, sh, until};

/// Tasks that tell what is usual.
const SAMPLE: i32 = 3;

async fn a_twin_ends_what_hangs(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    for _ in 0..SAMPLE {
        let quick = client.create(sh("exit 0")).await.unwrap();
        client.wait(&quick.id, None).await.unwrap();
    }
    let speculation = Speculation {
        factor: 1.5,
        min_sample: SAMPLE,
        max_percent: 10,
        min_running_time: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    let task_type =
        TaskType { name: "command".into(), speculation: Some(speculation), ..TaskType::default() };
    let paths = vec!["speculation".to_owned()];
    let update = UpdateTaskTypeRequest {
        task_type: Some(task_type),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    client.update_type(update).await.unwrap();

    // Whoever comes first hangs, wherever that is.
    let here = cluster.scratch();
    let script = format!(
        r#"if mkdir {0}/hangs 2>/dev/null; then echo $$ > {0}/pid; sleep 600; fi
        printf '{{"event":"result","data":"done"}}\n' >> "$ASYNCFLOW_EVENTS""#,
        here.display()
    );
    let created = client.create(sh(&script)).await.unwrap();
    let done = client.wait(&created.id, None).await.unwrap();
    assert_eq!(done.state(), TaskState::Succeeded, "{}", cluster.logs());
    let twin = client.get(&created.id).await.unwrap().twin.unwrap();
    let twin = client.get(&twin.task_id).await.unwrap();
    assert_eq!(twin.state(), TaskState::Succeeded);
    assert_eq!((&twin.result, twin.result.is_some()), (&done.result, true));
    assert!(twin.twin.is_some_and(|of| of.is_twin && of.task_id == created.id));
    assert_ne!(twin.worker_id, done.worker_id, "they run on two hosts");
    let attempts = client.attempts(&created.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Released);
    let reason = attempts[0].failure.as_ref().unwrap().reason();
    assert_eq!(reason, FailureReason::Overtaken);
    let attempts = client.attempts(&twin.id).await.unwrap();
    assert_eq!(attempts.last().unwrap().outcome(), AttemptOutcome::Succeeded);
    let pid = std::fs::read_to_string(here.join("pid")).unwrap();
    until("what hangs is killed", || async { (!is_alive(&pid)).then_some(()) }).await;
}
on_each_database!(a_twin_ends_what_hangs);

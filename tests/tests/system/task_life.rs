//! A command's whole life: created, run, its output, result, history and counts, then deleted.

use asyncflow_proto::v1::{AttemptOutcome, CountTasksRequest, FailureReason, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, command, is_alive, sh};
use futures::TryStreamExt;

async fn runs_a_command(backend: Backend) {
    let cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let script = r#"echo out; echo err >&2
        echo '{"event":"progress","percent":50,"message":"half"}' >> "$ASYNCFLOW_EVENTS"
        echo '{"event":"context","data":{"n":1},"stage":"one"}' >> "$ASYNCFLOW_EVENTS"
        echo '{"event":"result","data":{"answer":42}}' >> "$ASYNCFLOW_EVENTS""#;
    let created = client.create(sh(script)).await.unwrap();
    let task = client.wait(&created.id, None).await.unwrap();

    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!(task.result.as_ref().unwrap().data, br#"{"answer":42}"#[..]);
    assert_eq!((task.stage.as_str(), task.context_version), ("one", 1));
    assert_eq!(task.progress.as_ref().unwrap().percent, Some(50.0));
    let attempts = client.attempts(&task.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Succeeded);
    assert_eq!(attempts[0].exit_code, Some(0));

    let request = asyncflow_proto::v1::StreamTaskLogsRequest {
        task_id: task.id.clone(),
        follow: true,
        ..Default::default()
    };
    let pieces: Vec<_> = client.logs(request).try_collect().await.unwrap();
    let text: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");

    let counts = client.count(CountTasksRequest::default()).await.unwrap();
    assert_eq!(counts.total, 1);
    client.delete(&task.id).await.unwrap();
    assert!(client.get(&task.id).await.unwrap_err().is_not_found());
    assert_eq!(client.count(CountTasksRequest::default()).await.unwrap().total, 0);
}
on_each_database!(runs_a_command);

async fn retries_up_to_the_budget_and_no_further(backend: Backend) {
    let cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let mut spec = sh("exit 3");
    let short = asyncflow_proto::time::duration(50);
    spec.retry = Some(asyncflow_proto::v1::OptionalRetryPolicy {
        max_retries: Some(2),
        interval: Some(short),
        max_interval: Some(short),
    });
    let failing = client.create(spec).await.unwrap();
    let missing = client.create(command(["/no/such/program"])).await.unwrap();

    let failed = client.wait(&failing.id, None).await.unwrap();
    assert_eq!((failed.state(), failed.failures), (TaskState::Failed, 3));
    let codes: Vec<_> = client.attempts(&failing.id).await.unwrap();
    assert_eq!(codes.iter().map(|a| a.exit_code).collect::<Vec<_>>(), [Some(3); 3]);

    let missing = client.wait(&missing.id, None).await.unwrap();
    assert_eq!((missing.state(), missing.attempt), (TaskState::Failed, 1));
    assert_eq!(missing.failure.unwrap().reason(), FailureReason::CommandNotRunnable);
}
on_each_database!(retries_up_to_the_budget_and_no_further);

async fn cancel_stops_the_whole_tree(backend: Backend) {
    let cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let pid_file = cluster.scratch().join("grandchild");
    // The grandchild leaves the process group; only a sweep finds it.
    let script = format!(
        "setsid sh -c 'echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 300' & wait",
        pid_file.display()
    );
    let task = client.create(sh(&script)).await.unwrap();
    let pid = asyncflow_tests::until("the grandchild runs", || async {
        std::fs::read_to_string(&pid_file).ok()
    })
    .await;
    client.cancel(&task.id, "enough").await.unwrap();
    let ended = client.wait(&task.id, None).await.unwrap();
    assert_eq!(ended.state(), TaskState::Cancelled);
    assert_eq!(ended.failure.unwrap().message, "enough");
    assert!(!is_alive(&pid), "{}", cluster.logs());
    client.cancel(&task.id, "again").await.unwrap();
}
on_each_database!(cancel_stops_the_whole_tree);

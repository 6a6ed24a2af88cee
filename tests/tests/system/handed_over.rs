//! A task gives itself away, and another host goes on from what it said.

use asyncflow_proto::v1::{AttemptOutcome, FailureReason, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape, sh};

async fn another_host_goes_on_from_there(backend: Backend) {
    let cluster = Cluster::start(backend, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let script = r#"say() { printf '%s\n' "$1" >> "$ASYNCFLOW_EVENTS"; }
        if [ ! -s "$ASYNCFLOW_CONTEXT" ]; then
            say '{"event":"hand_over","data":{"offset":100000},"message":"the disk is full"}'
            exit 1
        fi
        say "{\"event\":\"result\",\"data\":{\"from\":$(cat "$ASYNCFLOW_CONTEXT")}}""#;
    let created = client.create(sh(script)).await.unwrap();
    let done = client.wait(&created.id, None).await.unwrap();
    assert_eq!(done.state(), TaskState::Succeeded, "{:?} {}", done.failure, cluster.logs());
    assert_eq!(done.result.unwrap().data, r#"{"from":{"offset":100000}}"#);
    assert_eq!((done.failures, done.attempt), (0, 2));
    let attempts = client.attempts(&created.id).await.unwrap();
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Released);
    let failure = attempts[0].failure.as_ref().unwrap();
    assert_eq!(failure.reason(), FailureReason::HandedOver);
    assert_eq!(failure.message, "the disk is full");
    assert_eq!(attempts[0].exit_code, Some(1));
    assert_ne!(attempts[0].worker_id, attempts[1].worker_id, "they are on two hosts");
}
on_each_database!(another_host_goes_on_from_there);

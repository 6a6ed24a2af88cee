//! A task keeps the trace of the call that created it.

use asyncflow_proto::v1;
use tonic::Request;

use crate::harness::TestBroker;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn in_trace<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    request
}

fn create(validate_only: bool) -> v1::CreateTaskRequest {
    let task = v1::TaskSpec { task_type: "train".into(), ..Default::default() };
    v1::CreateTaskRequest { task: Some(task), request_id: "once".into(), validate_only }
}

#[tokio::test]
async fn a_task_keeps_the_trace_of_its_creation() {
    let mut t = TestBroker::start().await;
    let preview = t.broker.create_task(in_trace(create(true))).await.unwrap().into_inner();
    assert_eq!(preview.task.unwrap().trace_id, TRACE_ID);
    let created = t.broker.create_task(in_trace(create(false))).await.unwrap().into_inner();
    let id = created.task.unwrap().id;

    // A repetition under another trace finds the task as it was created.
    let again = t.broker.create_task(create(false)).await.unwrap().into_inner();
    assert!(again.deduplicated);
    assert_eq!(again.task.unwrap().trace_id, TRACE_ID);

    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    assert_eq!(leased.task.unwrap().trace_id, TRACE_ID);
    assert_eq!(t.get(&id).await.trace_id, TRACE_ID);
    t.stop().await;
}

#[tokio::test]
async fn a_batch_is_one_trace_and_a_call_without_one_begins_it() {
    let mut t = TestBroker::start().await;
    let other = v1::CreateTaskRequest { request_id: "twice".into(), ..create(false) };
    let request = v1::BatchCreateTasksRequest { requests: vec![create(false), other] };
    let answer = t.broker.batch_create_tasks(in_trace(request)).await.unwrap().into_inner();
    for response in answer.responses {
        assert_eq!(response.task.unwrap().trace_id, TRACE_ID);
    }
    let made = t.create("train").await.trace_id;
    assert_eq!(made.len(), 32, "{made}");
    assert_ne!(made, TRACE_ID);
    t.stop().await;
}

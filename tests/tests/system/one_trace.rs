//! One trace id goes from the client's call into the task, its program and the worker's log.

use asyncflow_proto::v1::{
    CreateTaskRequest, TaskState, broker_service_client::BrokerServiceClient,
};
use asyncflow_tests::{Backend, Cluster, Shape, sh, until};
use tonic::Request;

async fn is_in_task_program_and_log(backend: Backend) {
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let cluster = Cluster::start(backend, Shape::default()).await;
    let address = format!("http://{}", cluster.broker_address(0));
    let mut broker = BrokerServiceClient::connect(address).await.unwrap();
    let script =
        r#"printf '{"event":"result","data":"%s"}\n' "$TRACEPARENT" >> "$ASYNCFLOW_EVENTS""#;
    let mut request =
        Request::new(CreateTaskRequest { task: Some(sh(script)), ..Default::default() });
    let header = format!("00-{trace_id}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", header.parse().unwrap());
    let created = broker.create_task(request).await.unwrap().into_inner().task.unwrap();
    assert_eq!(created.trace_id, trace_id);

    let task = cluster.client(0).wait(&created.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!(task.trace_id, trace_id);
    let seen = String::from_utf8(task.result.unwrap().data.to_vec()).unwrap();
    assert!(seen.starts_with(&format!("\"00-{trace_id}-")), "{seen}");
    assert_ne!(seen, format!("\"{header}\""), "the attempt is a span of its own");

    let line = until("the worker logs the attempt", || async {
        let log = cluster.workers[0].process().log();
        log.lines().find(|line| line.contains("attempt ended")).map(str::to_owned)
    })
    .await;
    assert!(line.contains(trace_id) && line.contains(&task.id), "{line}");
}
on_each_database!(is_in_task_program_and_log);

//! StreamCreateTasks: an answer for each message, errors in their place, and an end in order.

use asyncflow_proto::v1;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{TestBroker, refusal};

fn request(task_type: &str, request_id: &str) -> v1::CreateTaskRequest {
    let task = v1::TaskSpec { task_type: task_type.into(), ..Default::default() };
    v1::CreateTaskRequest { task: Some(task), request_id: request_id.into(), ..Default::default() }
}

fn message(requests: Vec<v1::CreateTaskRequest>) -> v1::StreamCreateTasksRequest {
    v1::StreamCreateTasksRequest { requests }
}

/// Sends all messages and gives all answers.
async fn send(
    t: &TestBroker,
    messages: Vec<v1::StreamCreateTasksRequest>,
) -> Vec<Result<v1::StreamCreateTasksResponse, Status>> {
    let mut broker = t.broker.clone();
    let answers = broker.stream_create_tasks(stream::iter(messages)).await.unwrap();
    answers.into_inner().collect().await
}

#[tokio::test]
async fn every_message_is_answered_in_its_order() {
    let mut t = TestBroker::start().await;
    let numbered = |message_at: usize| {
        let each = (0..=message_at % 3).map(|at| request("train", &format!("{message_at}-{at}")));
        message(each.collect())
    };
    let answers = send(&t, (0..40).map(numbered).collect()).await;
    assert_eq!(answers.len(), 40);
    let mut ids = Vec::new();
    for (at, answer) in answers.into_iter().enumerate() {
        let results = answer.unwrap().results;
        assert_eq!(results.len(), at % 3 + 1);
        ids.extend(results.into_iter().map(|result| {
            assert_eq!((result.error, result.deduplicated), (None, false));
            result.task_id
        }));
    }
    for id in &ids {
        assert_eq!(t.get(id).await.id, *id);
    }
    // The same again, as after a stream that broke.
    let again = send(&t, (0..40).map(numbered).collect()).await;
    let again = again.into_iter().flat_map(|answer| answer.unwrap().results);
    let again: Vec<_> = again.map(|result| (result.deduplicated, result.task_id)).collect();
    assert_eq!(again, ids.into_iter().map(|id| (true, id)).collect::<Vec<_>>());
    t.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_its_place_and_harms_no_other() {
    let t = TestBroker::start().await;
    let checks = v1::CreateTaskRequest { validate_only: true, ..request("train", "c") };
    let requests = vec![request("train", "a"), request("../x", "b"), checks, request("train", "d")];
    let answer = send(&t, vec![message(requests)]).await.remove(0).unwrap();
    let codes: Vec<_> =
        answer.results.iter().map(|one| one.error.as_ref().map_or(0, |e| e.code)).collect();
    assert_eq!(codes, [0, 3, 3, 0]);
    let error = answer.results[1].error.as_ref().unwrap();
    assert!(error.message.contains("task.task_type"), "{}", error.message);
    let status = Status::with_details(Code::InvalidArgument, "", error.status.clone().into());
    let field = status.get_details_bad_request().unwrap().field_violations.remove(0).field;
    assert_eq!(field, "task.task_type");
    assert!(answer.results[3].task_id.starts_with("train-1-"));

    let refused = send(&t, vec![message(Vec::new())]).await.remove(0).unwrap_err();
    assert_eq!(refusal(&refused).2, ["requests"]);
    t.stop().await;
}

#[tokio::test]
async fn a_broker_that_ends_answers_what_it_has_and_says_so() {
    let t = TestBroker::start().await;
    let (sender, messages) = mpsc::channel(1);
    let mut broker = t.broker.clone();
    let answers = broker.stream_create_tasks(ReceiverStream::new(messages)).await.unwrap();
    let mut answers = answers.into_inner();
    sender.send(message(vec![request("train", "a")])).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().results.len(), 1);
    t.drain();
    let ended = answers.next().await.unwrap().unwrap_err();
    assert_eq!(refusal(&ended).1, "SHUTTING_DOWN");
    drop((sender, broker, answers));
    t.stop().await;
}

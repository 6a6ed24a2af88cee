//! Who may change which tasks, by token.

use asyncflow_proto::v1;
use tonic::{Code, Response, Status};

use crate::harness::{TestBroker, by, tokens_file};

const ANN: &str = "ann-token-0123456789";
const BOB: &str = "bob-token-0123456789";
const ROOT: &str = "root-token-0123456789";

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn create(t: &mut TestBroker, token: &str) -> String {
    let task = v1::TaskSpec { task_type: "train".into(), ..Default::default() };
    let create = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
    t.broker.create_task(by(token, create)).await.unwrap().into_inner().task.unwrap().id
}

/// What somebody is answered by each method that changes a task.
async fn changes(t: &mut TestBroker, token: &str, id: &str) -> Vec<Code> {
    let task_id = id.to_owned();
    let pause = by(token, v1::PauseTaskRequest { task_id: task_id.clone() });
    let resume = by(token, v1::ResumeTaskRequest { task_id: task_id.clone() });
    let update = v1::UpdateTaskRequest {
        task_id: task_id.clone(),
        task: Some(v1::TaskSpec { priority: Some(3), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["priority".into()] }),
        ..Default::default()
    };
    let cancel = v1::CancelTaskRequest { task_id: task_id.clone(), ..Default::default() };
    let retry = v1::RetryTaskRequest { task_id: task_id.clone(), ..Default::default() };
    let delete = by(token, v1::DeleteTaskRequest { task_id });
    vec![
        code(t.broker.pause_task(pause).await),
        code(t.broker.resume_task(resume).await),
        code(t.broker.update_task(by(token, update)).await),
        code(t.broker.cancel_task(by(token, cancel.clone())).await),
        code(t.broker.retry_task(by(token, retry)).await),
        code(t.broker.cancel_task(by(token, cancel)).await),
        code(t.broker.delete_task(delete).await),
    ]
}

async fn listed(t: &mut TestBroker, token: &str, filter: &str) -> Vec<String> {
    let request = v1::ListTasksRequest { filter: filter.into(), own: true, ..Default::default() };
    let page = t.broker.list_tasks(by(token, request)).await.unwrap().into_inner();
    page.tasks.into_iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn where_there_are_tokens_nobody_but_an_administrator_changes_what_is_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [("ann", "client", ANN), ("bob", "client", BOB), ("root", "admin", ROOT)];
    let file = tokens_file(folder.path(), &lines);
    let mut t = TestBroker::with(&[("listen.auth.tokens_file", &file)]).await;
    let (of_ann, of_bob) = (create(&mut t, ANN).await, create(&mut t, BOB).await);
    assert_eq!(changes(&mut t, BOB, &of_ann).await, [Code::PermissionDenied; 7]);

    // What is one's own, though somebody else's is newer.
    assert_eq!(listed(&mut t, ANN, "").await, std::slice::from_ref(&of_ann));
    assert_eq!(listed(&mut t, BOB, "").await, std::slice::from_ref(&of_bob));
    assert_eq!(listed(&mut t, ANN, "user = bob").await, Vec::<String>::new());

    assert_eq!(changes(&mut t, ANN, &of_ann).await, [Code::Ok; 7]);
    assert_eq!(changes(&mut t, ROOT, &of_bob).await, [Code::Ok; 7]);
    t.stop().await;
}

#[tokio::test]
async fn without_tokens_nobody_is_known_and_everybody_may_change_all() {
    let mut t = TestBroker::start().await;
    let task = v1::TaskSpec { task_type: "train".into(), user: "ann".into(), ..Default::default() };
    let id = t.create_spec(task).await.id;
    let request = v1::ListTasksRequest { own: true, ..Default::default() };
    assert_eq!(t.broker.list_tasks(request).await.unwrap().into_inner().tasks.len(), 1);
    let cancel = v1::CancelTaskRequest { task_id: id, ..Default::default() };
    assert_eq!(code(t.broker.cancel_task(cancel).await), Code::Ok);
    t.stop().await;
}

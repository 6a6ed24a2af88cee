//! Workflows over the wire: created, looked at, run by a worker, cancelled, refused.

use std::time::Duration;

use asyncflow_proto::{
    time::duration,
    v1::{self, workflow_item, workflow_node::Work},
};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::harness::{TestBroker, acquire, complete, refusal};

fn task(name: &str, task_type: &str) -> v1::WorkflowNode {
    let task = v1::TaskSpec { task_type: task_type.into(), ..Default::default() };
    v1::WorkflowNode { name: name.into(), work: Some(Work::Task(task)), ..Default::default() }
}

fn after(depends_on: &[&str], node: v1::WorkflowNode) -> v1::WorkflowNode {
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    v1::WorkflowNode { depends_on, ..node }
}

fn request(nodes: Vec<v1::WorkflowNode>) -> v1::CreateWorkflowRequest {
    let input = Some(v1::Content { data: "5".into(), content_type: "application/json".into() });
    let workflow = v1::WorkflowSpec { name: "w".into(), nodes, input, ..Default::default() };
    v1::CreateWorkflowRequest { workflow: Some(workflow), ..Default::default() }
}

async fn create(t: &mut TestBroker, nodes: Vec<v1::WorkflowNode>) -> v1::Workflow {
    let created = t.broker.create_workflow(request(nodes)).await.unwrap();
    created.into_inner().workflow.unwrap()
}

async fn get(t: &mut TestBroker, id: &str) -> v1::GetWorkflowResponse {
    let request = v1::GetWorkflowRequest { workflow_id: id.into() };
    t.broker.get_workflow(request).await.unwrap().into_inner()
}

/// The fields that are told to be wrong.
async fn refused(t: &mut TestBroker, nodes: Vec<v1::WorkflowNode>) -> Vec<String> {
    let refused = t.broker.create_workflow(request(nodes)).await.unwrap_err();
    let (code, _, fields) = refusal(&refused);
    assert_eq!(code, Code::InvalidArgument, "{refused}");
    fields
}

fn text(refused: &Status) -> &str {
    refused.message()
}

#[tokio::test]
async fn a_worker_is_given_what_follows() {
    let mut t = TestBroker::start().await;
    let chain = v1::WorkflowChain { steps: vec![task("", "first"), task("", "second")] };
    let chain = v1::WorkflowNode {
        name: "both".into(),
        work: Some(Work::Chain(chain)),
        ..Default::default()
    };
    let id = create(&mut t, vec![chain, after(&["both"], task("last", "third"))]).await.id;
    let session = t.register("w", "i").await;
    let mut seen = Vec::new();
    for (round, result) in ["6", "7", "8"].into_iter().enumerate() {
        let mut acquired = t.acquire(acquire(&session, &round.to_string(), 5)).await;
        assert_eq!(acquired.len(), 1, "one after the other");
        let leased = acquired.remove(0);
        t.start_lease(&session, leased.lease.clone().unwrap()).await;
        let task = leased.task.unwrap();
        assert_eq!(task.workflow_id, id);
        seen.push((task.task_type, task.payload.unwrap().data));
        let result = Some(v1::Content { data: result.into(), content_type: String::new() });
        let complete = v1::CompleteTaskRequest {
            session_id: session.clone(),
            lease: leased.lease,
            result,
            exit_code: None,
            usage: None,
        };
        t.worker.complete_task(complete).await.unwrap();
    }
    let expected = [("first", "5"), ("second", "6"), ("third", "7")];
    let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data.into())).into();
    assert_eq!(seen, expected);
    let answer = get(&mut t, &id).await;
    let workflow = answer.workflow.unwrap();
    assert_eq!(workflow.state(), v1::WorkflowState::Succeeded);
    assert_eq!((workflow.node_count, workflow.ended.unwrap().succeeded), (3, 3));
    let names: Vec<_> = answer.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["both/1", "both", "last"]);
    assert_eq!(answer.nodes[2].depends_on, ["both"]);

    let list = v1::ListWorkflowItemsRequest {
        workflow_id: id.clone(),
        page_size: 2,
        ..Default::default()
    };
    let page = t.broker.list_workflow_items(list.clone()).await.unwrap().into_inner();
    let rest = v1::ListWorkflowItemsRequest { page_token: page.next_page_token, ..list.clone() };
    let rest = t.broker.list_workflow_items(rest).await.unwrap().into_inner();
    assert_eq!((page.items.len(), rest.items.len(), rest.next_page_token.as_str()), (2, 1, ""));
    let Some(workflow_item::Item::Task(task)) = &rest.items[0].item else { panic!("{rest:?}") };
    assert_eq!((task.state(), rest.items[0].node.as_str()), (v1::TaskState::Succeeded, "last"));
    let one = v1::ListWorkflowItemsRequest { node: "both".into(), page_size: 0, ..list.clone() };
    assert_eq!(t.broker.list_workflow_items(one).await.unwrap().into_inner().items.len(), 1);
    let none = v1::ListWorkflowItemsRequest { node: "other".into(), ..list };
    let none = t.broker.list_workflow_items(none).await.unwrap_err();
    assert_eq!(refusal(&none).2, ["node"]);
    t.stop().await;
}

#[tokio::test]
async fn what_a_live_workflow_may_need_is_not_deleted() {
    let mut t = TestBroker::start().await;
    let nodes = vec![task("a", "first"), after(&["a"], task("b", "second"))];
    let id = create(&mut t, nodes).await.id;
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let task_id = leased.task.unwrap().id;
    let delete = v1::DeleteTaskRequest { task_id: task_id.clone() };
    let refused = t.broker.delete_task(delete.clone()).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "ILLEGAL_STATE".to_owned(), vec![]);
    assert_eq!(refusal(&refused), expected);
    let expected = format!("workflow {id}, which has not ended");
    assert!(text(&refused).contains(&expected), "{refused}");

    let purge = v1::BulkPurgeTasksRequest {
        selection: Some(v1::TaskSelection { all: true, ..Default::default() }),
        ..Default::default()
    };
    let begun = t.operations.bulk_purge_tasks(purge).await.unwrap().into_inner();
    let timeout = Some(duration(60_000));
    let wait = v1::WaitOperationRequest { operation_id: begun.operation.unwrap().id, timeout };
    let over = t.operations.wait_operation(wait).await.unwrap().into_inner().operation.unwrap();
    assert_eq!((over.state(), over.skipped_count), (v1::OperationState::Succeeded, 1));
    assert!(over.issues[0].message.contains(&expected), "{over:?}");

    let leased = t.start_one(&session, "2").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let workflow = get(&mut t, &id).await.workflow.unwrap();
    assert_eq!(workflow.state(), v1::WorkflowState::Succeeded);
    t.broker.delete_task(delete).await.unwrap();
    t.stop().await;
}

#[tokio::test]
async fn workflows_are_listed_and_cancelled() {
    let mut t = TestBroker::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(create(&mut t, vec![task("a", "work")]).await.id);
    }
    ids.reverse();
    let list = v1::ListWorkflowsRequest { page_size: 2, ..Default::default() };
    let page = t.broker.list_workflows(list.clone()).await.unwrap().into_inner();
    let rest = v1::ListWorkflowsRequest { page_token: page.next_page_token, ..list };
    let rest = t.broker.list_workflows(rest).await.unwrap().into_inner();
    let listed: Vec<_> =
        page.workflows.into_iter().chain(rest.workflows).map(|workflow| workflow.id).collect();
    assert_eq!((listed, rest.next_page_token.as_str()), (ids.clone(), ""));
    let of_bob = v1::ListWorkflowsRequest { user: "bob".into(), ..Default::default() };
    assert!(t.broker.list_workflows(of_bob).await.unwrap().into_inner().workflows.is_empty());

    let cancel = v1::CancelWorkflowRequest { workflow_id: ids[0].clone() };
    let ended = [v1::WorkflowState::Cancelling, v1::WorkflowState::Cancelled];
    // Its task is cancelled beside the call; repeating it is OK.
    let cancelled = async {
        loop {
            let answer = t.broker.cancel_workflow(cancel.clone()).await.unwrap().into_inner();
            let state = answer.workflow.unwrap().state();
            assert!(ended.contains(&state), "{state:?}");
            if state == v1::WorkflowState::Cancelled {
                break;
            }
        }
    };
    timeout(Duration::from_secs(60), cancelled).await.expect("its task is cancelled");
    let retry = v1::RetryWorkflowRequest { workflow_id: ids[0].clone() };
    let retried = t.broker.retry_workflow(retry.clone()).await.unwrap().into_inner();
    assert_eq!(retried.workflow.unwrap().state(), v1::WorkflowState::Running);
    let live = t.broker.retry_workflow(retry).await.unwrap_err();
    assert_eq!(refusal(&live).1, "ILLEGAL_STATE");
    let unknown = v1::CancelWorkflowRequest { workflow_id: "wf-0000000000001".into() };
    let unknown = t.broker.cancel_workflow(unknown).await.unwrap_err();
    let expected = (Code::NotFound, "WORKFLOW_NOT_FOUND".to_owned(), vec![]);
    assert_eq!(refusal(&unknown), expected);
    t.stop().await;
}

#[tokio::test]
async fn what_is_over_is_not_cancelled() {
    let mut t = TestBroker::start().await;
    let id = create(&mut t, vec![task("a", "work")]).await.id;
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    let over = get(&mut t, &id).await.workflow.unwrap();
    assert_eq!(over.state(), v1::WorkflowState::Succeeded);
    let cancel = v1::CancelWorkflowRequest { workflow_id: id.clone() };
    let refused = t.broker.cancel_workflow(cancel).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "ILLEGAL_STATE".to_owned(), vec![]);
    assert_eq!(refusal(&refused), expected);
    assert!(text(&refused).contains("SUCCEEDED cannot be cancelled"), "{refused}");
    assert_eq!(get(&mut t, &id).await.workflow.unwrap(), over);
    t.stop().await;
}

#[tokio::test]
async fn a_repeated_request_makes_one_workflow() {
    let mut t = TestBroker::start().await;
    let named = |nodes| v1::CreateWorkflowRequest { request_id: "r".into(), ..request(nodes) };
    let first = t.broker.create_workflow(named(vec![task("a", "work")])).await.unwrap();
    let again = t.broker.create_workflow(named(vec![task("a", "work")])).await.unwrap();
    let (first, again) = (first.into_inner(), again.into_inner());
    assert_eq!((first.deduplicated, again.deduplicated), (false, true));
    assert_eq!(first.workflow.unwrap().id, again.workflow.unwrap().id);
    let other = t.broker.create_workflow(named(vec![task("b", "work")])).await.unwrap_err();
    assert_eq!(refusal(&other).1, "REQUEST_ID_REUSED");
    let check =
        v1::CreateWorkflowRequest { validate_only: true, ..request(vec![task("a", "never_seen")]) };
    assert_eq!(t.broker.create_workflow(check).await.unwrap().into_inner(), Default::default());
    t.stop().await;
}

#[tokio::test]
async fn what_is_no_workflow_is_refused_with_all_that_is_wrong() {
    let mut t = TestBroker::start().await;
    assert_eq!(refused(&mut t, vec![]).await, ["workflow.nodes"]);
    let ring = vec![
        after(&["c"], task("a", "work")),
        after(&["a"], task("b", "work")),
        after(&["b"], task("c", "work")),
    ];
    let ring = t.broker.create_workflow(request(ring)).await.unwrap_err();
    assert!(text(&ring).contains("a → c → b → a"), "{ring}");
    let alone = t.broker.create_workflow(request(vec![after(&["a"], task("a", "work"))])).await;
    assert!(text(&alone.unwrap_err()).contains("a → a"));
    let long = (0..1_001).map(|at| {
        let needs = (at > 0).then(|| format!("n{}", at - 1));
        v1::WorkflowNode {
            depends_on: needs.into_iter().collect(),
            ..task(&format!("n{at}"), "work")
        }
    });
    let long = t.broker.create_workflow(request(long.collect())).await.unwrap_err();
    let way = "in a row: n0 → n1 → n2 → n3 → n4 → n5 → n6 → n7 → … 989 more … → n997";
    assert!(text(&long).contains(&format!("1001 nodes wait for each other {way}")), "{long}");
    assert!(text(&long).contains(" → n1000; at most 1000"), "{long}");
    let many = (0..10_001).map(|at| task(&format!("n{at}"), "work")).collect();
    let many = t.broker.create_workflow(request(many)).await.unwrap_err();
    assert_eq!(refusal(&many).2, ["workflow.nodes"]);
    assert!(text(&many).contains("too many nodes: at least 10001; at most 10000"), "{many}");

    let wrong = vec![
        task("a b", "Work"),
        after(&["nobody"], task("c", "work")),
        task("c", "work"),
        v1::WorkflowNode { run_if: "1 +".into(), ..task("d", "work") },
        v1::WorkflowNode { input: "other.x".into(), ..task("e", "work") },
        v1::WorkflowNode { name: "f".into(), ..Default::default() },
        v1::WorkflowNode { when: v1::EdgeCondition::AnyFailed.into(), ..task("g", "work") },
    ];
    let fields = refused(&mut t, wrong).await;
    for field in [
        "workflow.nodes[0].name",
        "workflow.nodes[0].task.task_type",
        "workflow.nodes[1].depends_on[0]",
        "workflow.nodes[2].name",
        "workflow.nodes[3].run_if",
        "workflow.nodes[4].input",
        "workflow.nodes[5]",
        "workflow.nodes[6].when",
    ] {
        assert!(fields.iter().any(|told| told == field), "{field} is not in {fields:?}");
    }

    let mut nested = task("x", "work");
    for _ in 0..40 {
        let group = v1::WorkflowGroup { members: vec![nested], ..Default::default() };
        nested = v1::WorkflowNode {
            name: "x".into(),
            work: Some(Work::Group(group)),
            ..Default::default()
        };
    }
    let nested = t.broker.create_workflow(request(vec![nested])).await.unwrap_err();
    assert!(text(&nested).contains("nests deeper"), "{nested}");
    t.stop().await;
}

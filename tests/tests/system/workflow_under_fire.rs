//! A chord over two of each role, and one of each role killed on the way: the callback is made
//! once. It has 1,000 members, or as many as `ASYNCFLOW_TEST_MEMBERS` says.

use asyncflow_proto::v1::{
    CreateWorkflowRequest, TaskSpec, TaskState, WorkflowChord, WorkflowNode, WorkflowSpec,
    WorkflowState, workflow_item::Item, workflow_node::Work,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, command, sh, until};
use futures::TryStreamExt;

const MEMBERS: usize = 1_000;

fn members() -> usize {
    std::env::var("ASYNCFLOW_TEST_MEMBERS").map_or(MEMBERS, |members| members.parse().unwrap())
}

fn node(name: &str, task: TaskSpec) -> WorkflowNode {
    WorkflowNode { name: name.to_owned(), work: Some(Work::Task(task)), ..Default::default() }
}

/// How many members have ended; all of them, when the whole has.
async fn ended(client: &Client, id: &str) -> Option<usize> {
    let answer = client.workflow(id).await.ok()?;
    let tally = answer.nodes[0].ended.unwrap_or_default();
    let ended = tally.succeeded + tally.failed + tally.cancelled + tally.skipped;
    usize::try_from(ended).ok()
}

/// Until at least so many members have ended, however long it takes as long as it goes on.
async fn until_ended(client: &Client, id: &str, count: usize) {
    let mut reached = 0;
    while reached < count {
        reached = until("more members have ended", || async {
            ended(client, id).await.filter(|now| *now > reached || *now >= count)
        })
        .await;
    }
}

async fn the_callback_is_made_once(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 2, governors: 2, slots: 8, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(1);
    let count = members();
    let calls = cluster.scratch().join("calls");
    let chord = WorkflowChord {
        members: (0..count).map(|_| node("", command(["true"]))).collect(),
        callback: Some(Box::new(node("", sh(&format!("echo called >> {}", calls.display()))))),
        ..Default::default()
    };
    let nodes = vec![WorkflowNode {
        name: "all".to_owned(),
        work: Some(Work::Chord(Box::new(chord))),
        ..Default::default()
    }];
    let spec = WorkflowSpec { name: "fire".to_owned(), nodes, ..Default::default() };
    let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
    let created = client.create_workflow_with(request).await.unwrap();
    let id = created.workflow.unwrap().id;

    until_ended(&client, &id, count / 10).await;
    cluster.workers[0].kill();
    until_ended(&client, &id, count / 5).await;
    cluster.brokers[0].kill();
    until_ended(&client, &id, count * 3 / 10).await;
    let leader = cluster.leader().await;
    cluster.governors[leader].kill();
    cluster.workers[0].restart();
    cluster.brokers[0].restart();
    until_ended(&client, &id, count).await;
    let workflow = until("the workflow is over", || async {
        let workflow = client.workflow(&id).await.ok()?.workflow?;
        workflow.finish_time.is_some().then_some(workflow)
    })
    .await;

    assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:?}");
    let items: Vec<_> = client.workflow_items(&id, "").try_collect().await.unwrap();
    let mut ids = std::collections::HashSet::new();
    for item in &items {
        let Some(Item::Task(task)) = &item.item else { panic!("{item:?}") };
        assert_eq!((task.state(), task.failures), (TaskState::Succeeded, 0), "{task:?}");
        assert!(ids.insert(task.id.clone()), "{task:?} is two items");
    }
    let callbacks = items.iter().filter(|item| item.node == "all").count();
    assert_eq!((items.len(), callbacks), (count + 1, 1));
    assert_eq!(std::fs::read_to_string(&calls).unwrap(), "called\n");
    let counts = client.count(Default::default()).await.unwrap();
    assert_eq!(usize::try_from(counts.total).unwrap(), count + 1, "and no task besides");
}
on_each_database!(the_callback_is_made_once);

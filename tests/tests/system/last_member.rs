//! kill -9 of the broker while it records the end of the last member of a chord: before the COMMIT,
//! and behind it, before anybody has heard. The callback is made once.

use asyncflow_proto::v1::{
    TaskState, WorkflowChord, WorkflowNode, WorkflowSpec, WorkflowState, workflow_item::Item,
    workflow_node::Work,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, runs_until, sh, until};
use futures::TryStreamExt;

const MEMBERS: usize = 3;

/// A chord whose last member waits for the file `go`, and whose callback writes a line to `calls`.
async fn chord(client: &Client, go: &std::path::Path, calls: &std::path::Path) -> String {
    let node = |task| WorkflowNode { work: Some(Work::Task(task)), ..WorkflowNode::default() };
    let mut members = vec![node(sh("true")); MEMBERS - 1];
    members.push(node(runs_until(go)));
    let callback = Some(Box::new(node(sh(&format!("echo called >> {}", calls.display())))));
    let chord = WorkflowChord { members, callback, ..WorkflowChord::default() };
    let node = WorkflowNode {
        name: "all".to_owned(),
        work: Some(Work::Chord(Box::new(chord))),
        ..WorkflowNode::default()
    };
    let spec = WorkflowSpec { name: "last".to_owned(), nodes: vec![node], ..Default::default() };
    client.create_workflow(spec).await.unwrap().id
}

/// Returns when all members but the last have ended.
async fn until_one_is_left(client: &Client, id: &str) {
    until("the other members have ended", || async {
        let tally = client.workflow(id).await.unwrap().nodes[0].ended.unwrap_or_default();
        (tally.succeeded == MEMBERS as i32 - 1).then_some(())
    })
    .await;
}

async fn the_callback_is_made_once(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    for (made_before, point) in ["workflow.read", "apply.followed"].iter().enumerate() {
        let [go, calls] =
            ["go", "calls"].map(|name| cluster.scratch().join(format!("{name}-{point}")));
        let id = chord(&client, &go, &calls).await;
        until_one_is_left(&client, &id).await;
        let stop = cluster.brokers[0].faults().stop_at(point);
        std::fs::write(&go, "").unwrap();
        stop.reached().await;
        cluster.brokers[0].kill();
        stop.go_on();
        cluster.brokers[0].restart();

        let workflow = client.wait_workflow(&id, None).await.unwrap();
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:?} {}", cluster.logs());
        let items: Vec<_> = client.workflow_items(&id, "").try_collect().await.unwrap();
        for item in &items {
            let Some(Item::Task(task)) = &item.item else { panic!("{item:?}") };
            let counts = (task.state(), task.attempt, task.crashes);
            assert_eq!(counts, (TaskState::Succeeded, 1, 0), "{point}: {task:?}");
        }
        let callbacks = items.iter().filter(|item| item.node == "all").count();
        assert_eq!((items.len(), callbacks), (MEMBERS + 1, 1), "{point}");
        assert_eq!(std::fs::read_to_string(&calls).unwrap(), "called\n", "{point}");
        let total = client.count(Default::default()).await.unwrap().total;
        assert_eq!(total as usize, (made_before + 1) * (MEMBERS + 1), "and no task besides");
    }
}
on_each_database!(the_callback_is_made_once);

//! Two brokers: one hears how the parts of a workflow end, the other one is watched, and dies on
//! the way.

use asyncflow_proto::v1::{
    TaskSpec, WatchWorkflowResponse, WorkflowNode, WorkflowNodeState, WorkflowSpec, WorkflowState,
    workflow_node::Work,
};
use asyncflow_tests::{Backend, Cluster, PATIENCE, Shape, runs_until, until};
use futures::StreamExt;
use tokio::sync::mpsc;

fn node(name: &str, depends_on: &[&str], task: TaskSpec) -> WorkflowNode {
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    let work = Some(Work::Task(task));
    WorkflowNode { name: name.to_owned(), depends_on, work, ..Default::default() }
}

fn states(view: &WatchWorkflowResponse) -> Vec<WorkflowNodeState> {
    view.nodes.iter().map(|node| node.state()).collect()
}

async fn the_other_broker_is_watched(backend: Backend) {
    use WorkflowNodeState::{Running, Succeeded};
    let shape = Shape { brokers: 2, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    // Workers call the first broker that they are told of.
    let (creator, watched) = (cluster.client(0), cluster.client(1));
    let scratch = cluster.scratch();
    let gate = |name: &str| scratch.join(name);
    let until_open = |name: &str| runs_until(&gate(name));
    let nodes = vec![node("a", &[], until_open("first")), node("b", &["a"], until_open("second"))];
    let spec = WorkflowSpec { name: "two".to_owned(), nodes, ..Default::default() };
    let id = creator.create_workflow(spec).await.unwrap().id;

    let (sender, mut views) = mpsc::unbounded_channel();
    let (client, workflow) = (watched.clone(), id.clone());
    let watching = tokio::spawn(async move {
        let mut stream = std::pin::pin!(client.watch_workflow(&workflow));
        while let Some(view) = stream.next().await {
            sender.send(view.unwrap()).unwrap();
        }
    });
    let waiting = tokio::spawn({
        let (client, workflow) = (watched.clone(), id.clone());
        async move { client.wait_workflow(&workflow, None).await }
    });
    let first = views.recv().await.unwrap();
    assert_eq!(first.workflow.as_ref().unwrap().state(), WorkflowState::Running);

    std::fs::write(gate("first"), "").unwrap();
    let next = async {
        loop {
            let view = views.recv().await.expect("the watch goes on");
            if states(&view) == [Succeeded, Running] {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("it is told");

    cluster.brokers[1].kill();
    std::fs::write(gate("second"), "").unwrap();
    until("the workflow is over", || async {
        let workflow = creator.workflow(&id).await.ok()?.workflow?;
        workflow.finish_time.map(drop)
    })
    .await;
    assert!(!watching.is_finished(), "nobody has told it");
    cluster.brokers[1].restart();
    let last = async {
        let mut last = None;
        while let Some(view) = views.recv().await {
            last = Some(view);
        }
        last
    };
    let last = tokio::time::timeout(PATIENCE, last).await;
    let last = last.expect("it ends").expect("its end is told");
    assert_eq!(states(&last), [Succeeded, Succeeded]);
    assert_eq!(last.workflow.unwrap().state(), WorkflowState::Succeeded);
    watching.await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().state(), WorkflowState::Succeeded);
}
on_each_database!(the_other_broker_is_watched);

//! What the example of Machinery (RichardKnop/machinery, `example/`) sends, with the results that
//! it prints there: its tasks are handlers here, its groups, chords and chains workflows, its
//! periodic chain a schedule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use asyncflow_proto::{
    time::timestamp_ms,
    v1::{
        EdgeCondition, ScheduleSpec, Task, TaskSpec, TaskState, Workflow, WorkflowChain,
        WorkflowChord, WorkflowGroup, WorkflowNode, WorkflowSpec, WorkflowState,
        schedule_spec::{Action, Timing},
        workflow_item::Item,
        workflow_node::Work,
    },
};
use asyncflow_sdk::{Client, worker::HandlerError};
use asyncflow_tests::{Backend, Cluster, LEASE, PATIENCE, Shape, until};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::handlers::{self, Function, Worker};

/// Longer than a lease of the cluster's.
const LONG: Duration = LEASE.saturating_add(Duration::from_secs(1));
/// How long a delayed task waits.
const DELAY_MS: i64 = 1_500;

fn integers(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

/// A handler that only calculates.
fn pure(function: impl Fn(Value) -> Value + Send + Sync + 'static) -> Function {
    Function::new(move |payload, _| std::future::ready(Ok(function(payload))))
}

/// How many of a kind run at once, and the most that ever did.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AtOnce {
    /// Runs until another one runs beside it, but not for long, and then a moment for more to come.
    async fn run(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.most.load(Ordering::SeqCst) > 1 {
                break;
            }
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn machinery_handlers(at_once: &Arc<AtOnce>) -> Vec<(&'static str, Function)> {
    let at_once = Arc::clone(at_once);
    let counted = move |payload: Value, _| {
        let at_once = Arc::clone(&at_once);
        async move {
            at_once.run().await;
            Ok(json!(integers(&payload).iter().sum::<i64>()))
        }
    };
    let later = |_, attempt| {
        std::future::ready(match attempt {
            1 => Err(HandlerError::retry_after(Duration::from_millis(300), "not yet")),
            attempt => Ok(json!(attempt)),
        })
    };
    let long = |_, _| async {
        tokio::time::sleep(LONG).await;
        Ok(Value::Null)
    };
    vec![
        ("add", pure(|args| json!(integers(&args).iter().sum::<i64>()))),
        ("multiply", pure(|args| json!(integers(&args).iter().product::<i64>()))),
        ("sum_ints", pure(|args| json!(integers(&args).iter().sum::<i64>()))),
        (
            "sum_floats",
            pure(|args| {
                let numbers = args.as_array().unwrap().iter();
                json!(numbers.map(|number| number.as_f64().unwrap()).sum::<f64>())
            }),
        ),
        (
            "concat",
            pure(|args| {
                let texts = args.as_array().unwrap().iter();
                json!(texts.map(|text| text.as_str().unwrap()).collect::<String>())
            }),
        ),
        (
            "split",
            pure(|text| {
                let letters = text.as_str().unwrap().chars();
                json!(letters.map(String::from).collect::<Vec<_>>())
            }),
        ),
        ("counted_add", Function::new(counted)),
        ("panic_task", pure(|_| panic!("oops"))),
        ("retry_later", Function::new(later)),
        ("long_running_task", Function::new(long)),
        ("echo", pure(|payload| payload)),
    ]
}

fn spec(task_type: &str, args: Option<Value>) -> TaskSpec {
    let payload = args.map(|args| handlers::json(&args));
    TaskSpec { task_type: task_type.to_owned(), payload, ..TaskSpec::default() }
}

fn node(task: TaskSpec) -> WorkflowNode {
    WorkflowNode { work: Some(Work::Task(task)), ..WorkflowNode::default() }
}

fn add(args: Value) -> WorkflowNode {
    node(spec("add", Some(args)))
}

/// The result of a task that succeeded.
fn result(task: &Task) -> Value {
    assert_eq!(task.state(), TaskState::Succeeded, "{task:?}");
    serde_json::from_slice(&task.result.as_ref().unwrap().data).unwrap()
}

async fn run(client: &Client, task: TaskSpec) -> Task {
    let created = client.create(task).await.unwrap();
    client.wait(&created.id, None).await.unwrap()
}

async fn run_workflow(client: &Client, nodes: Vec<WorkflowNode>) -> Workflow {
    let spec = WorkflowSpec { name: "machinery".to_owned(), nodes, ..Default::default() };
    let created = client.create_workflow(spec).await.unwrap();
    client.wait_workflow(&created.id, None).await.unwrap()
}

/// What the tasks of a node left, in their order.
async fn results(client: &Client, workflow: &Workflow, name: &str) -> Vec<Value> {
    assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:?}");
    let items: Vec<_> = client.workflow_items(&workflow.id, name).try_collect().await.unwrap();
    let mut results = Vec::new();
    for item in items {
        let Some(Item::Task(task)) = item.item else { panic!("{item:?}") };
        results.push(result(&client.get(&task.id).await.unwrap()));
    }
    results
}

async fn single_tasks(client: &Client) {
    for (task_type, args, expected) in [
        ("add", json!([1, 1]), json!(2)),
        ("sum_ints", json!([1, 2]), json!(3)),
        ("sum_floats", json!([1.5, 2.7]), json!(4.2)),
        ("concat", json!(["foo", "bar"]), json!("foobar")),
        ("split", json!("foo"), json!(["f", "o", "o"])),
    ] {
        let task = run(client, spec(task_type, Some(args))).await;
        assert_eq!(result(&task), expected, "{task_type}");
    }
}

async fn groups_chords_and_chains(client: &Client, at_once: &AtOnce) {
    let adds = || vec![add(json!([1, 1])), add(json!([2, 2])), add(json!([5, 6]))];
    let group = WorkflowGroup { members: adds(), ..Default::default() };
    let group = WorkflowNode {
        name: "group".to_owned(),
        work: Some(Work::Group(group)),
        ..Default::default()
    };
    let ended = run_workflow(client, vec![group]).await;
    assert_eq!(results(client, &ended, "group").await, [2, 4, 11]);

    let members = (0..6).map(|n| node(spec("counted_add", Some(json!([n, n]))))).collect();
    let group = WorkflowGroup { members, max_parallel: 2, policy: None };
    let group = WorkflowNode {
        name: "group".to_owned(),
        work: Some(Work::Group(group)),
        ..Default::default()
    };
    let ended = run_workflow(client, vec![group]).await;
    assert_eq!(results(client, &ended, "group").await, [0, 2, 4, 6, 8, 10]);
    assert_eq!(at_once.most.load(Ordering::SeqCst), 2, "side by side, and two at most");

    let callback = Some(Box::new(node(spec("multiply", None))));
    let chord = WorkflowChord { members: adds(), callback, ..Default::default() };
    let chord = WorkflowNode {
        name: "chord".to_owned(),
        work: Some(Work::Chord(Box::new(chord))),
        ..Default::default()
    };
    let ended = run_workflow(client, vec![chord]).await;
    assert_eq!(results(client, &ended, "chord").await, [88], "(1 + 1) * (2 + 2) * (5 + 6)");

    let ended = run_workflow(client, vec![chain()]).await;
    assert_eq!(results(client, &ended, "chain").await, [68], "(((1+1) + (2+2)) + (5+6)) * 4");
}

fn chain() -> WorkflowNode {
    // The result of what came before is one more argument.
    let passed_on = |step: WorkflowNode| WorkflowNode { input: "payload + [prev]".into(), ..step };
    let mut steps = vec![add(json!([1, 1]))];
    steps.extend([add(json!([2, 2])), add(json!([5, 6]))].map(passed_on));
    steps.push(passed_on(node(spec("multiply", Some(json!([4]))))));
    WorkflowNode {
        name: "chain".to_owned(),
        work: Some(Work::Chain(WorkflowChain { steps })),
        ..Default::default()
    }
}

/// Every second instead of every minute.
async fn periodic_chain(client: &Client) {
    let workflow = WorkflowSpec { nodes: vec![chain()], ..Default::default() };
    let schedule = ScheduleSpec {
        name: "periodic".to_owned(),
        timing: Some(Timing::Interval(asyncflow_proto::time::duration(1_000))),
        action: Some(Action::Workflow(workflow)),
        ..Default::default()
    };
    let id = client.create_schedule(schedule).await.unwrap().id;
    let fired = until("it has fired twice", || async {
        // One that came while the last was still running was skipped.
        let mut fires = client.schedule(&id).await.ok()?.fires;
        fires.retain(|fire| !fire.workflow_id.is_empty());
        (fires.len() >= 2).then_some(fires)
    })
    .await;
    client.delete_schedule(&id).await.unwrap();
    for fire in fired {
        let ended = client.wait_workflow(&fire.workflow_id, None).await.unwrap();
        assert_eq!(results(client, &ended, "chain").await, [68]);
    }
}

async fn delays_and_retries(client: &Client) {
    let created = client.create(spec("add", Some(json!([1, 1])))).await.unwrap();
    let eta_ms = timestamp_ms(created.create_time.as_ref().unwrap()).unwrap() + DELAY_MS;
    let eta = TaskSpec {
        not_before: Some(asyncflow_proto::time::timestamp(eta_ms)),
        ..spec("add", Some(json!([1, 1])))
    };
    let delayed = run(client, eta).await;
    assert_eq!(result(&delayed), 2);
    let attempts = client.attempts(&delayed.id).await.unwrap();
    let start_ms = timestamp_ms(attempts[0].start_time.as_ref().unwrap()).unwrap();
    assert!(start_ms >= eta_ms, "it began {} ms early", eta_ms - start_ms);

    let retried = run(client, spec("retry_later", None)).await;
    assert_eq!((result(&retried), retried.failures), (json!(2), 1));

    let long = run(client, spec("long_running_task", None)).await;
    assert_eq!((result(&long), long.attempt), (Value::Null, 1), "its lease was renewed");
}

async fn errors_and_their_callbacks(client: &Client) {
    let retry = Some(asyncflow_proto::v1::OptionalRetryPolicy {
        max_retries: Some(0),
        ..Default::default()
    });
    let panics = || TaskSpec { retry, ..spec("panic_task", None) };
    let failed = run(client, panics()).await;
    assert_eq!(failed.state(), TaskState::Failed);
    assert_eq!(failed.failure.unwrap().message, "the handler panicked: oops");

    let step = |name: &str, task, depends_on: &[&str]| WorkflowNode {
        name: name.to_owned(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        ..node(task)
    };
    let mut on_error = step("on_error", spec("echo", None), &["panics"]);
    on_error.set_when(EdgeCondition::AnyFailed);
    on_error.input = "{'error': nodes.panics.message}".to_owned();
    let on_success = step("on_success", spec("echo", None), &["panics"]);
    let nodes = vec![step("panics", panics(), &[]), on_error, on_success];
    let spec = WorkflowSpec { name: "machinery".to_owned(), nodes, ..Default::default() };
    let id = client.create_workflow(spec).await.unwrap().id;
    let ended = client.wait_workflow(&id, None).await.unwrap();
    assert_eq!(ended.state(), WorkflowState::Failed);
    let items: Vec<_> = client.workflow_items(&id, "on_error").try_collect().await.unwrap();
    let Some(Item::Task(task)) = &items[0].item else { panic!("{items:?}") };
    let said = client.get(&task.id).await.unwrap().result.unwrap();
    let said = String::from_utf8(said.data.to_vec()).unwrap();
    assert!(said.contains("the handler panicked: oops"), "{said}");
    let items: Vec<_> = client.workflow_items(&id, "on_success").try_collect().await.unwrap();
    assert_eq!(items.len(), 0);

    // The same as callbacks of the task itself.
    let callbacks =
        |name: &str| vec![TaskSpec { name: name.to_owned(), ..self::spec("echo", None) }];
    let (on_success, on_error) = (callbacks("well"), callbacks("badly"));
    let failed = run(client, TaskSpec { on_success, on_error, ..panics() }).await;
    let ended = client.wait_workflow(&failed.workflow_id, None).await.unwrap();
    let items: Vec<_> = client.workflow_items(&ended.id, "").try_collect().await.unwrap();
    let Some(Item::Task(task)) = &items[1].item else { panic!("{items:?}") };
    assert_eq!((items.len(), task.name.as_str()), (2, "badly"));
    let said = client.get(&task.id).await.unwrap().payload.unwrap();
    let said = String::from_utf8(said.data.to_vec()).unwrap();
    assert!(said.contains("the handler panicked: oops"), "{said}");
}

async fn machinerys_example_has_its_results(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 0, ..Shape::default() };
    let cluster = Cluster::start(backend, shape).await;
    let at_once = Arc::new(AtOnce::default());
    let workers: Vec<Worker> =
        (0..2).map(|n| Worker::start(&cluster, n, 4, machinery_handlers(&at_once))).collect();
    let client = cluster.client(1);
    let all = async {
        tokio::join!(
            single_tasks(&client),
            groups_chords_and_chains(&client, &at_once),
            delays_and_retries(&client),
            errors_and_their_callbacks(&client),
            periodic_chain(&client),
        )
    };
    let all = tokio::time::timeout(PATIENCE, all).await;
    assert!(all.is_ok(), "it goes on: {}", cluster.logs());
    for worker in workers {
        worker.stop().await;
    }
}
on_each_database!(machinerys_example_has_its_results);

//! A task that splits itself: its parts are run by several workers, it gives its slot back
//! meanwhile, and goes on with their results, although the broker that it spoke to is killed.

use std::sync::Arc;

use asyncflow_proto::v1::{AttemptOutcome, Content, LeasedTask, Task, TaskSpec, TaskState};
use asyncflow_sdk::{
    Client,
    worker::{AttemptHandle, Handler, HandlerError},
};
use asyncflow_tests::{Backend, Cluster, Shape, until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::handlers::{self, Function, Worker};

const PARTS: i64 = 20;
const APPROVAL: &str = "approved";

/// The sum of the squares of numbers: each square is a task of its own. What they are is approved
/// from outside before they are summed up.
struct SumOfSquares;

fn value_of(content: Option<&Content>) -> Value {
    content.and_then(|content| serde_json::from_slice(&content.data).ok()).unwrap_or_default()
}

#[async_trait::async_trait]
impl Handler for SumOfSquares {
    type Context = Vec<i64>;

    async fn load_context(&self, leased: &LeasedTask) -> Result<Vec<i64>, HandlerError> {
        let numbers = value_of(leased.task.as_ref().and_then(|task| task.payload.as_ref()));
        serde_json::from_value(numbers)
            .map_err(|error| HandlerError::bad_context(error.to_string()))
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        numbers: Vec<i64>,
    ) -> Result<Option<Content>, HandlerError> {
        if attempt.task().stage.is_empty() {
            let square = |number: i64| TaskSpec {
                task_type: "square".to_owned(),
                payload: Some(handlers::json(&json!(number))),
                ..TaskSpec::default()
            };
            attempt.create_children("squares", numbers.into_iter().map(square).collect()).await?;
            attempt.save_context(Some("split"), None).await?;
            return Err(HandlerError::wait_for_children());
        }
        if attempt.signal(APPROVAL).is_none() {
            return Err(HandlerError::wait_for_signals([APPROVAL]));
        }
        let squares = attempt.children("squares").await?.into_iter();
        let squares = squares.map(|child| child.task.unwrap_or_default());
        let sum: i64 = squares.filter_map(|task| value_of(task.result.as_ref()).as_i64()).sum();
        Ok(Some(handlers::json(&json!(sum))))
    }
}

async fn until_state(client: &Client, id: &str, state: TaskState) -> Task {
    until(state.as_str_name(), || async {
        client.get(id).await.ok().filter(|task| task.state() == state)
    })
    .await
}

async fn the_parts_are_summed_up(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let gate = Arc::new(Semaphore::new(0));
    let worker = |n| {
        let gate = Arc::clone(&gate);
        let square = Function::new(move |number, _| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.expect("it is never closed").forget();
                let number = number.as_i64().unwrap_or_default();
                Ok(json!(number * number))
            }
        });
        // One slot: a parent that kept it would wait for ever for its own parts.
        Worker::with(&cluster, n, 1, |worker| {
            worker.handler("sum", SumOfSquares).handler("square", square)
        })
    };
    let workers = [worker(0), worker(1)];
    let client = cluster.client(1);
    let spec = TaskSpec {
        task_type: "sum".to_owned(),
        payload: Some(handlers::json(&json!((1..=PARTS).collect::<Vec<_>>()))),
        ..TaskSpec::default()
    };
    let id = client.create(spec).await.unwrap().id;

    until_state(&client, &id, TaskState::Blocked).await;
    gate.add_permits(5);
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    gate.add_permits(PARTS as usize);
    until("it waits for its approval", || async {
        let task = client.get(&id).await.ok()?;
        (task.waits_for == [format!("signal {APPROVAL}")]).then_some(())
    })
    .await;
    client.signal(&id, APPROVAL, None).await.unwrap();
    let task = client.wait(&id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    let sum: i64 = (1..=PARTS).map(|number| number * number).sum();
    assert_eq!(value_of(task.result.as_ref()), json!(sum));
    assert_eq!((task.failures, task.crashes), (0, 0));
    let attempts = client.attempts(&id).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome()).collect();
    assert_eq!(outcomes, {
        use AttemptOutcome::{Released, Succeeded};
        [Released, Released, Succeeded]
    });
    let counts = client.count(Default::default()).await.unwrap();
    assert_eq!(counts.total, PARTS + 1, "no part was made twice");
    for worker in workers {
        worker.stop().await;
    }
}
on_each_database!(the_parts_are_summed_up);

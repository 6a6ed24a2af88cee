//! What the checks of workflows share: nodes, and a worker whose tasks do what their names say.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::{Event, RetryHint, Settle},
    id::WorkflowId,
    reason::FailureReason,
    retry::RetryPatch,
    task::FullTask,
    validate::{
        at::At,
        new_task::NewTaskInput,
        workflow::{FanInput, NodeInput, WorkInput, WorkflowInput, new_workflow},
    },
    violation::Violations,
    workflow::{
        content::{of_json, to_json},
        definition::NewWorkflow,
        progress::{NodeState, WorkflowState},
    },
};
use asyncflow_store::{ItemIs, Store, WorkflowView};
use serde_json::{Value, json};

use super::fixture::{apply, claim, fence, get, start, type_name};

/// A task that is told what to do by its name: `ok`, `fail`, or to add or multiply by a number.
pub fn task(name: &str, does: &str) -> NodeInput {
    let input = NewTaskInput {
        task_type: "work".into(),
        user: "ann".into(),
        name: does.into(),
        retry: RetryPatch { max_retries: Some(0), ..Default::default() },
        ..NewTaskInput::default()
    };
    let work = WorkInput::Task(Box::new(input));
    NodeInput { name: name.into(), work, ..NodeInput::default() }
}

pub fn after(depends_on: &[&str], node: NodeInput) -> NodeInput {
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    NodeInput { depends_on, ..node }
}

pub fn node(name: &str, work: WorkInput) -> NodeInput {
    NodeInput { name: name.into(), work, ..NodeInput::default() }
}

pub fn fan(members: Vec<NodeInput>) -> FanInput {
    FanInput { members, ..FanInput::default() }
}

pub fn workflow(input: Value, nodes: Vec<NodeInput>) -> NewWorkflow {
    let input = WorkflowInput {
        user: "ann".into(),
        name: "sums".into(),
        input: of_json(&input),
        nodes,
        ..WorkflowInput::default()
    };
    let mut violations = Violations::new();
    let new = new_workflow(input, At::REQUEST, 1_800_000_000_000, &mut violations);
    violations.ok_or(new).unwrap()
}

pub async fn create(store: &Store, new: &NewWorkflow) -> WorkflowId {
    store.ensure_type(&type_name("work")).await.unwrap();
    store.create_workflow(new).await.unwrap().workflow.id
}

pub async fn view(store: &Store, id: WorkflowId) -> WorkflowView {
    store.get_workflow(id).await.unwrap().unwrap()
}

pub async fn state(store: &Store, id: WorkflowId) -> WorkflowState {
    view(store, id).await.workflow.progress.state
}

pub fn states(view: &WorkflowView) -> BTreeMap<&str, NodeState> {
    view.nodes.iter().map(|node| (node.name.as_str(), node.progress.state)).collect()
}

/// What a task returns for its payload.
fn result(full: &FullTask) -> Settle {
    let payload = to_json(&full.body.payload);
    let number = || payload.as_i64().unwrap_or_default();
    let (does, by) = full.task.name.split_once(' ').unwrap_or((&full.task.name, "0"));
    let by: i64 = by.parse().unwrap_or_default();
    let value = match does {
        "add" => json!(number() + by),
        "multiply" => json!(number() * by),
        "sum" => json!(payload.as_array().unwrap().iter().filter_map(Value::as_i64).sum::<i64>()),
        "echo" => payload,
        "large" => json!("x".repeat(60_000)),
        "flaky" if full.task.run > 0 => payload,
        "fail" | "flaky" => {
            let (reason, hint) = (FailureReason::Error, RetryHint::Never);
            return Settle::Fail { reason, message: "it broke".into(), hint };
        }
        _ => Value::Null,
    };
    Settle::complete(Some(of_json(&value)))
}

pub fn end(full: &FullTask) -> Event {
    Event::Settle {
        fence: fence(&full.task),
        settle: result(full),
        digest: 1,
        exit_code: None,
        usage: None,
    }
}

/// Runs the one task that comes next; tells which that was.
pub async fn work_one(store: &Store) -> FullTask {
    let full = claim(store, 7, 1).await.leased.remove(0).task;
    apply(store, &full.task.id, start(&full.task)).await.unwrap();
    apply(store, &full.task.id, end(&full)).await.unwrap();
    full
}

/// Runs whatever can be run, in portions, until nothing can; tells the names of what ran.
pub async fn work(store: &Store) -> Vec<String> {
    let mut ran = Vec::new();
    loop {
        let leased = claim(store, 7, 64).await.leased;
        if leased.is_empty() {
            return ran;
        }
        let tasks: Vec<FullTask> = leased.into_iter().map(|leased| leased.task).collect();
        let starts = tasks.iter().map(|full| (full.task.id.clone(), start(&full.task)));
        store.apply(starts.collect()).await;
        let ends = tasks.iter().map(|full| (full.task.id.clone(), end(full)));
        let answers = store.apply(ends.collect()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        ran.extend(tasks.into_iter().map(|full| full.task.name));
    }
}

pub async fn result_of(store: &Store, id: WorkflowId, name: &str) -> Value {
    let at = view(store, id).await.nodes.iter().position(|node| node.name == name).unwrap();
    let items = store.list_workflow_items(id, Some(at as u32), None, 1).await.unwrap();
    let ItemIs::Task(task, _) = &items[0].is else { panic!("{items:?}") };
    to_json(&get(store, task).await.body.result.unwrap_or_default())
}

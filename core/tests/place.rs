//! What a node of a workflow may say about when it starts.
#![allow(clippy::unwrap_used, reason = "tests")]

use asyncflow_core::{
    id::EPOCH_MS,
    validate::{
        at::At,
        new_task::NewTaskInput,
        workflow::{NodeInput, WorkInput, WorkflowInput, new_workflow},
    },
    violation::Violations,
    workflow::graph::When,
};

fn task(name: &str, when: When) -> NodeInput {
    let task = NewTaskInput { user: "ana".into(), task_type: "work".into(), ..Default::default() };
    NodeInput {
        name: name.into(),
        when,
        work: WorkInput::Task(Box::new(task)),
        ..Default::default()
    }
}

fn told(nodes: Vec<NodeInput>) -> Vec<String> {
    let input = WorkflowInput { user: "ana".into(), nodes, ..Default::default() };
    let mut violations = Violations::new();
    new_workflow(input, At::REQUEST, EPOCH_MS, &mut violations);
    let list = violations.into_list().into_iter();
    list.map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}

#[test]
fn only_a_node_that_waits_says_how() {
    let root = told(vec![task("a", When::AllSucceeded), task("mourn", When::AnyFailed)]);
    assert_eq!(
        root,
        ["workflow.nodes[1].when: any_failed needs depends_on: the node \"mourn\" depends on no \
          other"]
    );
    let behind = NodeInput { depends_on: vec!["a".into()], ..task("mourn", When::AnyFailed) };
    assert_eq!(told(vec![task("a", When::AllSucceeded), behind]), [""; 0]);
}

#[test]
fn a_step_starts_by_its_place() {
    let steps = vec![task("", When::AllSucceeded), task("", When::AllDone)];
    let chain = NodeInput { name: "c".into(), work: WorkInput::Chain(steps), ..Default::default() };
    let told = told(vec![chain]);
    let field = "workflow.nodes[0].chain.steps[1].when: all_done must not be given";
    assert!(told.len() == 1 && told[0].starts_with(field), "{told:?}");
}

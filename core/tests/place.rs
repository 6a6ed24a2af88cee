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

#[test]
fn an_expression_names_nodes_that_it_waits_for() {
    let looks = |run_if: &str, when| NodeInput {
        depends_on: vec!["a".into(), "c".into()],
        run_if: run_if.into(),
        ..task("last", when)
    };
    let steps = vec![task("x", When::AllSucceeded), task("", When::AllSucceeded)];
    let chain = NodeInput { name: "c".into(), work: WorkInput::Chain(steps), ..Default::default() };
    let told = |node| {
        let (one, other) = (task("a", When::AllSucceeded), task("b", When::AllSucceeded));
        told(vec![one, other, chain.clone(), node])
    };
    for run_if in [
        "nodes.a.state == nodes['c'].state",
        "has(nodes.b) || !('z' in nodes)",
        "[{'b': 1}].all(nodes, nodes.b == 1)",
        "nodes[prev.a].state == ''",
    ] {
        assert_eq!(told(looks(run_if, When::AllSucceeded)), [""; 0], "{run_if}");
    }
    let within = "nodes['c/x'].message != ''";
    assert_eq!(told(looks(within, When::AnyFailed)), [""; 0]);
    for (run_if, name) in [("nodes.b.result", "b"), ("nodes['z'].result", "z"), (within, "c/x")] {
        let field = "workflow.nodes[3].run_if";
        let what = format!("{field}: names the node {name:?}, on which it does not depend");
        assert_eq!(told(looks(run_if, When::AllSucceeded)), [what], "{run_if}");
    }
}

//! A task with callbacks is a small workflow: the task, and what waits for its end.

use serde_json::Value;

use super::{
    definition::{Flow, Kind, Part, Runs, Work},
    graph::{Node, Policy, When},
};
use crate::{
    command::Command,
    create::{Callbacks, NewTask},
    task::Content,
};

/// The node that is the task itself.
pub const TASK_NODE: u32 = 0;
/// Its name.
const TASK: &str = "task";

/// The task and its callbacks; the result is that of the task.
pub fn flow(mut task: NewTask) -> Flow {
    let Callbacks { on_success, on_error, on_cancel } = std::mem::take(&mut task.callbacks);
    let mut nodes = vec![node(TASK.into(), When::AllSucceeded, Vec::new(), part(task, None))];
    for (kind, when, tasks) in [
        ("on_success", When::AllSucceeded, on_success),
        ("on_error", When::AnyFailed, on_error),
        ("on_cancel", When::AnyCancelled, on_cancel),
    ] {
        for (index, task) in tasks.into_iter().enumerate() {
            let input = input(when, &task);
            let name = format!("{kind}.{}", index + 1);
            nodes.push(node(name, when, vec![TASK_NODE], part(task, input)));
        }
    }
    Flow { nodes, policy: Policy::Continue, result: Some(TASK_NODE) }
}

/// How many callbacks a task has, on all levels.
pub fn count(task: &NewTask) -> usize {
    let Callbacks { on_success, on_error, on_cancel } = &task.callbacks;
    let all = on_success.iter().chain(on_error).chain(on_cancel);
    all.map(|callback| 1 + count(callback)).sum()
}

/// What runs a task: itself or, if it has callbacks, a workflow of its own.
pub fn runs(task: NewTask) -> Runs {
    if task.callbacks == Callbacks::default() {
        Runs::Task(Box::new(task))
    } else {
        Runs::Flow(flow(task))
    }
}

fn part(task: NewTask, input: Option<String>) -> Part {
    Part { name: String::new(), input, runs: runs(task) }
}

fn node(name: String, when: When, needs: Vec<u32>, part: Part) -> Node<Work> {
    let work = Work { run_if: None, kind: Kind::One(part) };
    Node { name, needs, when, policy: Policy::default(), parallel_max: 0, work }
}

/// What a callback gets that has no payload: after a success the result, which needs no
/// expression; else what became of the task.
fn input(when: When, task: &NewTask) -> Option<String> {
    let failure = format!("{{\"state\": nodes.{TASK}.state, \"message\": nodes.{TASK}.message}}");
    if when == When::AllSucceeded {
        return None;
    }
    match Command::from_content(&task.payload) {
        Some(command) if command.environment.contains_key(super::input::INPUT_VARIABLE) => None,
        Some(_) => {
            let variable = Value::from(super::input::INPUT_VARIABLE);
            Some(format!("{{\"environment\": {{{variable}: nodes.{TASK}.message}}}}"))
        }
        None => (task.payload == Content::default()).then_some(failure),
    }
}

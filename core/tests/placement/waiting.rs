//! Since when a task waits.

use std::sync::Arc;

use asyncflow_core::{
    create::NewTask,
    id::{TaskId, TypeName},
    placement::Waiting,
    task::Task,
    task_type::TaskType,
};

use super::gpus;

fn task() -> Task {
    let name: TypeName = "train".parse().unwrap();
    let new = NewTask { priority: Some(5), ..NewTask::new(name.clone(), "ana") };
    let id: TaskId = "train-1-0000000000001".parse().unwrap();
    let task = new.into_task(&TaskType::with_defaults(name, 0), id, 9_000).task;
    Task { resources: Some(Arc::new(gpus(1))), ..task }
}

#[test]
fn priority_does_not_make_a_task_wait_longer() {
    let waiting = Waiting::of(&task());
    assert_eq!((waiting.order_time_ms, waiting.ready_ms), (4_000, 9_000));
}

#[test]
fn a_task_that_comes_back_begins_to_wait() {
    let back = Task { start_time_ms: Some(10_000), update_time_ms: 60_000, ..task() };
    let waiting = Waiting::of(&back);
    assert_eq!((waiting.order_time_ms, waiting.ready_ms), (4_000, 60_000));
    let never_began = Task { update_time_ms: 60_000, ..task() };
    assert_eq!(Waiting::of(&never_began).ready_ms, 9_000);
}

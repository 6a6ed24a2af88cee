//! `asyncflow worker list`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn the_worker_of_dev_is_there_and_takes_commands() {
    let dev = Dev::start();
    // A task that has run shows that the worker has registered.
    dev.call(&["run", "--", "true"]).expect_code(0);
    let workers = dev.call(&["worker", "list", "-o", "json"]).expect_code(0).json();
    assert_eq!(workers.as_array().unwrap().len(), 1);
    assert_eq!(workers[0]["task_types"], serde_json::json!([]));
    assert_eq!(workers[0]["takes_commands"], true);
    assert_eq!(workers[0]["alive"], true);
}

#[test]
fn a_list_says_at_once_what_is_closed() {
    let dev = Dev::start();
    dev.call(&["run", "--", "true"]).expect_code(0);
    let worker = dev.call(&["worker", "list", "-o", "id"]).expect_code(0).stdout;
    let worker = worker.trim();
    let listed = || dev.call(&["worker", "list"]).expect_code(0).stdout;
    assert!(listed().contains("ALIVE"));
    dev.call(&["worker", "cordon", worker]).expect_code(0);
    assert!(listed().contains("CORDONED"), "{}", listed());
    dev.call(&["worker", "uncordon", worker]).expect_code(0);
    assert!(listed().contains("ALIVE"), "{}", listed());
}

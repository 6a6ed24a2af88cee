//! `asyncflow type …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn a_type_is_created_changed_and_listed() {
    let dev = Dev::start();
    let create = ["type", "create", "train", "--description", "nets", "--max-time", "2h"];
    dev.call(&create).expect_code(0);
    dev.call(&["type", "create", "train"]).expect_code(1);
    let set =
        ["type", "set", "train", "--max-retries", "7", "--paused", "true", "--max-time", "none"];
    dev.call(&set).expect_code(0);
    let kind = dev.call(&["type", "get", "train", "-o", "json"]).expect_code(0).json();
    assert_eq!((&kind["description"], &kind["paused"]), (&"nets".into(), &true.into()));
    assert_eq!(kind["retry"]["max_retries"], 7);
    assert!(kind["max_running_time"].is_null());
    assert!(dev.call(&["type", "list", "-o", "id"]).expect_code(0).lines().contains(&"train"));
    dev.call(&["type", "get", "nosuch"]).expect_code(3);
    dev.call(&["type", "create", "No Such"]).expect_code(1);
}

//! `asyncflow type …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn what_becomes_of_the_parts_of_speculation_is_told() {
    let dev = Dev::start();
    dev.call(&["type", "create", "train"]).expect_code(0);
    let set = |more: &[&str], code| {
        dev.call(&[&["type", "set", "train"], more].concat()).expect_code(code).stderr
    };
    let told = set(&["--speculation", "3", "--speculation-percent", "7"], 0);
    assert!(told.contains("not given to its default: over 3 × the median of"), "{told}");
    let all = ["--speculation", "3", "--speculation-percent", "7"];
    let all = [&all[..], &["--speculation-sample", "9", "--speculation-after", "1m"]].concat();
    assert!(!set(&all, 0).contains("default"));
    assert!(set(&["--speculation-percent", "7"], 2).contains("--speculation <FACTOR>"));
    assert!(set(&["--speculation", "none", "--speculation-sample", "9"], 2).contains("none"));
}

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
    assert!(kind["speculation"].is_null());
    let speculation = ["--speculation", "2.5", "--speculation-after", "30s"];
    dev.call(&[&["type", "set", "train"], &speculation[..]].concat()).expect_code(0);
    let shown = dev.call(&["type", "get", "train"]).expect_code(0).stdout;
    assert!(shown.contains("over 2.5 × the median of 10 or more, from 30s, 10 %"), "{shown}");
    let wrong = dev.call(&["type", "set", "train", "--speculation", "1000"]).expect_code(1).stderr;
    assert!(wrong.contains("task_type.speculation.factor"), "{wrong}");
    dev.call(&["type", "set", "train", "--speculation-sample", "3"]).expect_code(2);
    dev.call(&["type", "set", "train", "--speculation", "none"]).expect_code(0);
    let kind = dev.call(&["type", "get", "train", "-o", "json"]).expect_code(0).json();
    assert!(kind["speculation"].is_null());
    assert!(dev.call(&["type", "list", "-o", "id"]).expect_code(0).lines().contains(&"train"));
    dev.call(&["type", "get", "nosuch"]).expect_code(3);
    dev.call(&["type", "create", "No Such"]).expect_code(1);
}

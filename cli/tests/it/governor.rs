//! `asyncflow governor …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn a_governor_answers_all_questions() {
    let dev = Dev::start();
    let status = dev.call(&["governor", "status", "-o", "json"]).expect_code(0).json();
    let duties = status["duties"].as_array().unwrap();
    assert!(duties.iter().any(|duty| duty["name"] == "reap"), "{status}");
    dev.call(&["governor", "leader"]).expect_code(0);
    dev.call(&["governor", "run-duty", "no-such-duty"]).expect_code(3);
}

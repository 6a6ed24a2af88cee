//! `asyncflow task …` with a filter, and `asyncflow operation …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;
use std::process::{Command, Stdio};

fn count(dev: &Dev, state: &str) -> usize {
    let list = ["task", "list", "-o", "id", "--limit", "0", "-s", state];
    dev.call(&list).expect_code(0).lines().len()
}

#[test]
fn many_are_cancelled_retried_and_purged_by_a_filter() {
    let dev = Dev::start();
    for n in 0..5 {
        dev.idle_task(&["--label", &format!("odd={}", n % 2)]);
    }
    let filter = ["--label", "odd=0"];
    let dry = [&["task", "cancel", "--dry-run", "-o", "json"][..], &filter].concat();
    let dry = dev.call(&dry).expect_code(0).json();
    assert_eq!((&dry[0]["state"], &dry[0]["count"]), (&"SCHEDULED".into(), &3.into()));
    // Nobody could answer the question.
    let unasked = dev.call(&[&["task", "cancel"][..], &filter].concat()).expect_code(2);
    assert!(unasked.stderr.contains("cancel 3 tasks (3 SCHEDULED)"), "{unasked:?}");
    assert!(unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(count(&dev, "scheduled"), 5, "nothing was done");

    let cancel = [&["task", "cancel", "--yes", "-o", "json", "-m", "why"][..], &filter].concat();
    let over = dev.call(&cancel).expect_code(0).json();
    assert_eq!((&over["state"], &over["kind"]), (&"SUCCEEDED".into(), &"CANCEL".into()));
    assert_eq!((&over["changed_count"], &over["skipped_count"]), (&3.into(), &0.into()));
    assert_eq!(count(&dev, "cancelled"), 3);

    let retry = ["task", "retry", "-y", "--type", "idle", "--max", "2", "--no-wait", "-o", "id"];
    let id = dev.call(&retry).expect_code(0).stdout.trim().to_owned();
    let waited = dev.call(&["operation", "wait", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!((&waited["changed_count"], &waited["state"]), (&2.into(), &"SUCCEEDED".into()));
    assert_eq!(count(&dev, "cancelled"), 1);

    let none = dev.call(&["task", "purge", "--filter", "user = nobody"]).expect_code(0);
    assert!(none.stderr.contains("no task matches"), "{none:?}");
    dev.call(&["task", "purge", "--all", "--yes"]).expect_code(0);
    assert_eq!((count(&dev, "cancelled"), count(&dev, "scheduled")), (0, 4));
    let deleted = dev.call(&["task", "delete", "--all", "--yes"]).expect_code(0);
    assert!(deleted.stdout.contains("SUCCEEDED"), "{deleted:?}");
    assert_eq!(dev.call(&["task", "count", "-o", "id"]).expect_code(0).stdout, "0\n");

    let list = dev.call(&["operation", "list", "-o", "json"]).expect_code(0).json();
    let kinds: Vec<_> =
        list.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["DELETE", "PURGE", "RETRY", "CANCEL"]);
    let table = dev.call(&["operation", "show", &id]).expect_code(0).stdout;
    assert!(table.contains("at most") && table.contains("RETRY"), "{table}");
    // It is over: it stays as it is.
    let cancelled = dev.call(&["operation", "cancel", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(cancelled["state"], "SUCCEEDED");
    dev.call(&["operation", "show", "op-0000000000001"]).expect_code(3);
}

#[test]
fn that_nothing_matched_is_told() {
    let dev = Dev::start();
    let done = dev.call(&["task", "cancel", "--type", "nope", "--yes"]).expect_code(0);
    assert!(done.stderr.contains("0 tasks matched"), "{done:?}");
}

#[test]
fn what_is_meant_has_to_be_said() {
    let dev = Dev::start();
    let id = dev.idle_task(&[]);
    for wrong in [
        &["task", "cancel"][..],
        &["task", "delete", "--yes"],
        &["task", "purge", "--yes"],
        &["task", "retry", &id, "--all"],
    ] {
        dev.call(wrong).expect_code(2);
    }
    let wrong = dev.call(&["task", "purge", "--yes", "-s", "running"]).expect_code(1);
    assert!(wrong.stderr.contains("selection.filter"), "{wrong:?}");
    assert_eq!(count(&dev, "scheduled"), 1);
}

/// `script` gives the command a terminal, and types the answer.
fn answered(dev: &Dev, answer: &str) -> String {
    let command = format!("{} task cancel --all", env!("CARGO_BIN_EXE_asyncflow"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("ASYNCFLOW_BROKER", &dev.broker);
    script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    let mut keyboard = script.stdin.take().unwrap();
    std::io::Write::write_all(&mut keyboard, format!("{answer}\n").as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    drop(keyboard);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_person_is_asked_and_told_how_far_it_is() {
    let dev = Dev::start();
    dev.idle_task(&[]);
    let no = answered(&dev, "n");
    assert!(no.contains("cancel 1 task (1 SCHEDULED)? [y/N]"), "{no}");
    assert!(no.contains("nothing was changed"), "{no}");
    assert_eq!(count(&dev, "scheduled"), 1);
    let yes = answered(&dev, "y");
    assert!(yes.contains("it goes on without you: `asyncflow operation wait op-"), "{yes}");
    assert!(yes.contains("CANCEL SUCCEEDED: 1 changed"), "{yes}");
    assert_eq!(count(&dev, "cancelled"), 1);
}

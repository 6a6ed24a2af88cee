//! `asyncflow task …`: formats, ids as people type them, every verb.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn lists_come_in_four_formats() {
    let dev = Dev::start();
    let first = dev.idle_task(&["--name", "alpha", "--label", "team=vision"]);
    let second = dev.idle_task(&["--name", "beta"]);

    let ids = dev.call(&["task", "list", "-o", "id"]).expect_code(0);
    assert_eq!(ids.lines(), [second.as_str(), first.as_str()]);

    let json = dev.call(&["task", "list", "-o", "json"]).expect_code(0).json();
    assert_eq!(json[1]["id"], first.as_str());
    assert_eq!(json[1]["state"], "SCHEDULED");
    assert!(json[1]["create_time"].as_str().unwrap().ends_with('Z'));

    let jsonl = dev.call(&["task", "list", "-o", "jsonl", "--label", "team=vision"]).expect_code(0);
    assert_eq!(jsonl.lines().len(), 1);
    assert_eq!(jsonl.json()["labels"]["team"], "vision");

    let table = dev.call(&["task", "list"]).expect_code(0);
    let lines = table.lines();
    assert!(lines[0].contains("ID") && lines[0].contains("STATE"), "{}", lines[0]);
    assert!(lines[1].contains(&second) && lines[1].contains("beta"), "{}", lines[1]);
    assert!(lines[1].trim_end().ends_with("ago"), "{}", lines[1]);
    assert!(!table.stdout.contains('\u{1b}'), "colours without a terminal");
}

#[test]
fn a_limit_is_a_limit_over_pages() {
    let dev = Dev::start();
    for _ in 0..3 {
        dev.idle_task(&[]);
    }
    let count = |args: &[&str]| dev.call(args).expect_code(0).lines().len();
    assert_eq!(count(&["task", "list", "-o", "id", "--limit", "2"]), 2);
    assert_eq!(count(&["task", "list", "-o", "id", "--limit", "0"]), 3);
    assert_eq!(count(&["task", "list", "-o", "id", "--state", "running"]), 0);
    assert_eq!(dev.call(&["task", "count", "-o", "id"]).expect_code(0).stdout, "3\n");
    let of_two = dev.call(&["task", "list", "--limit", "2"]).expect_code(0).stderr;
    assert!(of_two.contains("more than these 2; --limit 0"), "{of_two}");
    assert_eq!(dev.call(&["task", "list", "--limit", "3"]).expect_code(0).stderr, "");
    let counts = dev.call(&["task", "count", "-o", "json"]).expect_code(0).json();
    assert_eq!((&counts[0]["count"], &counts[0]["state"]), (&3.into(), &"SCHEDULED".into()));
}

#[test]
fn ids_may_be_typed_in_part() {
    let dev = Dev::start();
    dev.call(&["task", "get", "last"]).expect_code(3);
    let first = dev.idle_task(&[]);
    let second = dev.idle_task(&[]);
    let get = |typed: &str| dev.call(&["task", "get", typed, "-o", "id"]);
    assert_eq!(get("last").expect_code(0).stdout.trim(), second);
    assert_eq!(get(&first).expect_code(0).stdout.trim(), first);

    let common = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    assert_eq!(get(&first[..=common]).expect_code(0).stdout.trim(), first);
    let ambiguous = get(&first[..common]).expect_code(2).stderr;
    assert!(ambiguous.contains(&first) && ambiguous.contains(&second), "{ambiguous}");
    get("idle-1-zzzz").expect_code(3);
    get("idle-1-0000000000000").expect_code(3);
    get("idle-1-zzzzzzzzzzzzz").expect_code(1);
}

#[test]
fn every_verb_changes_what_it_says() {
    let dev = Dev::start();
    let id = dev.idle_task(&["--label", "a=1", "--label", "b=2"]);
    let state = |verb: &str| {
        let json = dev.call(&["task", verb, &id, "-o", "json"]).expect_code(0).json();
        json[0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("pause"), "PAUSED");
    assert_eq!(state("resume"), "SCHEDULED");
    let update = ["task", "update", &id, "-p", "-5", "--label", "c=3", "--remove-label", "a"];
    let more = ["--max-retries", "9", "--name", "renamed", "-o", "json"];
    let task = dev.call(&[&update[..], &more].concat()).expect_code(0).json();
    assert_eq!(task["labels"], serde_json::json!({"b": "2", "c": "3"}));
    assert_eq!((&task["priority"], &task["name"]), (&(-5).into(), &"renamed".into()));
    assert_eq!(task["retry"]["max_retries"], 9);
    assert_eq!(state("cancel"), "CANCELLED");
    assert_eq!(state("cancel"), "CANCELLED");
    dev.call(&["task", "wait", &id]).expect_code(130);
    dev.call(&["task", "pause", &id]).expect_code(1);
    assert_eq!(state("retry"), "SCHEDULED", "its time has not come yet");
    dev.call(&["task", "cancel", &id]).expect_code(0);
    assert_eq!(dev.call(&["task", "delete", &id]).expect_code(0).stdout.trim(), id);
    dev.call(&["task", "get", &id]).expect_code(3);
}

#[test]
fn a_dry_run_of_named_tasks_is_refused_and_changes_nothing() {
    let dev = Dev::start();
    let (live, over) = (dev.idle_task(&[]), dev.idle_task(&[]));
    dev.call(&["task", "cancel", &over]).expect_code(0);
    for (verb, id) in [("cancel", &live), ("retry", &over), ("delete", &over)] {
        for flag in ["--dry-run", "--no-wait"] {
            let refused = dev.call(&["task", verb, id, flag]).expect_code(2);
            assert!(refused.stderr.contains(flag), "{refused:?}");
        }
    }
    let state = |id: &str| {
        let task = dev.call(&["task", "get", id, "-o", "json"]).expect_code(0).json();
        task["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((state(&live), state(&over)), ("SCHEDULED".to_owned(), "CANCELLED".to_owned()));
}

#[test]
fn several_tasks_are_gone_through_to_the_end() {
    let dev = Dev::start();
    let (first, second) = (dev.idle_task(&[]), dev.idle_task(&[]));
    let unknown = "idle-1-0000000000000";
    let done = dev.call(&["task", "cancel", &first, unknown, &second, "-o", "id"]).expect_code(3);
    assert_eq!(done.lines(), [first.as_str(), second.as_str()]);
    assert!(done.stderr.contains(unknown), "{}", done.stderr);
}

#[test]
fn a_repeated_request_gives_the_same_task_and_another_one_is_refused() {
    let dev = Dev::start();
    let create = ["task", "create", "-t", "idle", "-o", "id", "--request-id", "r1"];
    let first = dev.call(&create).expect_code(0).stdout.trim().to_owned();
    assert_eq!(dev.call(&create).expect_code(0).stdout.trim(), first);
    // A span from now is another time at each repetition.
    dev.call(&["task", "create", "-t", "idle", "--request-id", "r1", "--delay", "1h"])
        .expect_code(2);
    let again = ["task", "create", "-t", "other", "--request-id", "r1"];
    let refused = dev.call(&again).expect_code(1);
    assert!(refused.stderr.contains("docs/errors/"), "{}", refused.stderr);
    assert_eq!(dev.call(&["task", "list", "-o", "id"]).lines(), [first.as_str()]);
}

#[test]
fn all_violations_are_told() {
    let dev = Dev::start();
    let wrong = ["task", "create", "-t", "No!", "-p", "5000", "--max-retries", "-1"];
    let args = [&wrong[..6], &["--max-retries", "100000"]].concat();
    let done = dev.call(&args).expect_code(1);
    for field in ["task_type", "priority", "max_retries"] {
        assert!(done.stderr.contains(field), "{field}: {}", done.stderr);
    }
}

#[test]
fn watch_ends_when_the_tasks_have() {
    let dev = Dev::start();
    let run = ["run", "--detach", "-o", "id", "--", "sh", "-c", "exit 0"];
    let id = dev.call(&run).expect_code(0).stdout.trim().to_owned();
    let watched = dev.call(&["task", "watch", &id, "-o", "jsonl"]).expect_code(0);
    let last: serde_json::Value = serde_json::from_str(watched.lines().last().unwrap()).unwrap();
    assert_eq!((&last["id"], &last["state"]), (&id.into(), &"SUCCEEDED".into()));
}

#[test]
fn payloads_come_back_as_they_were_given() {
    let dev = Dev::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("payload.bin");
    std::fs::write(&file, [0xff, 0x00]).unwrap();
    let id = dev.idle_task(&["--payload-file", file.to_str().unwrap(), "--context", "{\"x\":1}"]);
    let task = dev.call(&["task", "get", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(task["payload"]["base64"], "/wA=");
    assert_eq!(task["context"]["text"], "{\"x\":1}");
    assert_eq!(task["context"]["content_type"], "application/json");
}

/// `script` gives the command a terminal.
fn on_a_terminal(dev: &Dev, no_color: Option<&str>) -> String {
    let command = format!("{} task list", env!("CARGO_BIN_EXE_asyncflow"));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).env("ASYNCFLOW_BROKER", &dev.broker);
    script.env("TERM", "xterm").env_remove("NO_COLOR").stdin(std::process::Stdio::null());
    script.envs(no_color.map(|value| ("NO_COLOR", value)));
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn colours_are_for_terminals_and_no_color_switches_them_off() {
    let dev = Dev::start();
    let id = dev.idle_task(&[]);
    dev.call(&["task", "cancel", &id]).expect_code(0);
    let coloured = on_a_terminal(&dev, None);
    assert!(coloured.contains("\u{1b}[") && coloured.contains("CANCELLED"), "{coloured}");
    let plain = on_a_terminal(&dev, Some("1"));
    assert!(plain.contains("CANCELLED") && !plain.contains('\u{1b}'), "{plain}");
}

//! Watching workflows, and waiting for their end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;
use nix::pty::{Winsize, openpty};
use std::{
    fs::{self, File},
    io::Read,
};

/// Two commands, of which the second waits for the first.
fn chain(first: &str, second: &str) -> String {
    let task = |command| format!("{{task: {{command: {command}, max_retries: 0}}}}");
    format!("nodes: [{{name: both, chain: [{}, {}]}}]", task(first), task(second))
}

fn create(dev: &Dev, text: &str) -> String {
    let file = dev.dir().join("workflow.yaml");
    fs::write(&file, text).unwrap();
    let create = ["workflow", "create", "-f", file.to_str().unwrap(), "-o", "id"];
    dev.call(&create).expect_code(0).stdout.trim().to_owned()
}

#[test]
fn a_wait_ends_with_the_workflow_and_says_how() {
    let dev = Dev::start();
    let id = create(&dev, &chain("[\"true\"]", "[\"true\"]"));
    let waited = dev.call(&["workflow", "wait", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(waited["state"], "SUCCEEDED");
    let id = create(&dev, &chain("[\"true\"]", "[\"false\"]"));
    let waited = dev.call(&["workflow", "wait", &id, "-o", "json"]).expect_code(1).json();
    assert_eq!(waited["state"], "FAILED");
    let id = create(&dev, "nodes: [{name: a, task: {type: nobody}}]");
    let waited = dev.call(&["workflow", "wait", &id, "--timeout", "10ms"]).expect_code(1);
    assert!(waited.stderr.contains("the time is over"), "{waited:?}");
    dev.call(&["workflow", "cancel", &id]).expect_code(0);
    dev.call(&["workflow", "wait", &id]).expect_code(130);
    dev.call(&["workflow", "wait", "wf-0000000000001"]).expect_code(3);
}

#[test]
fn a_watch_tells_each_change_on_a_line_and_ends() {
    let dev = Dev::start();
    let gate = dev.dir().join("gate");
    let until = format!("[sh, -c, 'while [ ! -e {} ]; do sleep 0.05; done']", gate.display());
    let id = create(&dev, &chain(&until, "[\"true\"]"));
    let mut watch = dev.command(&["workflow", "watch", &id]);
    watch.stdout(std::process::Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut stdout = watch.stdout.take().unwrap();
    let mut first = vec![0; format!("{id}  RUNNING\n").len()];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(String::from_utf8(first).unwrap(), format!("{id}  RUNNING\n"));
    fs::write(&gate, "").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(watch.wait().unwrap().success(), "{rest}");
    let lines: Vec<&str> = rest.lines().collect();
    assert_eq!(lines[0], format!("{id}  both/1  RUNNING"));
    for line in [format!("{id}  both/1  SUCCEEDED"), format!("{id}  both  SUCCEEDED")] {
        assert_eq!(lines.iter().filter(|told| **told == line).count(), 1, "{rest}");
    }

    let all = dev.call(&["workflow", "watch", &id, "-o", "jsonl"]).expect_code(0);
    assert_eq!(all.lines().len(), 1);
    assert_eq!(all.json()["workflow"]["state"], "SUCCEEDED");
    dev.call(&["workflow", "watch", "wf-0000000000001"]).expect_code(3);
}

#[test]
fn on_a_terminal_the_graph_is_drawn_in_its_place() {
    let dev = Dev::start();
    let gate = dev.dir().join("gate");
    let until = format!("[sh, -c, 'while [ ! -e {} ]; do sleep 0.05; done']", gate.display());
    let id = create(&dev, &chain(&until, "[\"true\"]"));
    let size = Winsize { ws_row: 24, ws_col: 30, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let mut watch = dev.command(&["workflow", "watch", &id]);
    watch.env("NO_COLOR", "1").env("TERM", "xterm").stdout(terminal.slave);
    let mut running = watch.spawn().unwrap();
    // Or it holds the terminal open, and there is no end of what is read from it.
    drop(watch);
    let (mut master, mut seen) = (File::from(terminal.master), Vec::new());
    let mut buffer = [0; 4096];
    // EIO is the end of a terminal that nobody writes to any more.
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..count]);
        if String::from_utf8_lossy(&seen).contains("↓ both  WAITING") {
            fs::write(&gate, "").unwrap();
        }
    }
    assert!(running.wait().unwrap().success());
    let seen = String::from_utf8(seen).unwrap();
    // The cursor goes up over what stands there and clears it.
    let last = seen.rsplit("\u{1b}[").next().unwrap();
    let pictures = seen.matches("both/1").count();
    assert!(pictures > 1 && last.contains("both/1  SUCCEEDED"), "{seen:?}");
    assert!(last.contains("↓ both  SUCCEEDED"), "{seen:?}");
    let wide = |line: &&str| line.rsplit('\u{1b}').next().unwrap().chars().count() > 33;
    assert_eq!(seen.lines().find(wide), None, "30 columns");
}

#[test]
fn the_input_of_a_file_is_a_default_and_the_schema_needs_no_broker() {
    let dev = Dev::start();
    let file = dev.dir().join("workflow.yaml");
    fs::write(&file, "input: {a: 1}\nnodes: [{name: x, task: {type: idle}}]").unwrap();
    let file = file.to_str().unwrap();
    let create = ["workflow", "create", "-f", file, "--input", "{\"a\": 2}", "-o", "id"];
    let id = dev.call(&create).expect_code(0).stdout.trim().to_owned();
    let items = dev.call(&["workflow", "items", &id, "-o", "json"]).expect_code(0).json();
    let task = dev.call(&["task", "get", items[0]["task_id"].as_str().unwrap(), "-o", "json"]);
    assert_eq!(task.expect_code(0).json()["payload"]["text"], "{\"a\":2}");

    let schema = crate::program::call(&["workflow", "schema"]).expect_code(0).json();
    assert_eq!(schema["title"], "asyncflow workflow");
}

//! `asyncflow dev`: start, hold, stop, go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{
    dev_process::{Dev, command_in},
    program::Done,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
};

#[test]
fn a_directory_in_use_is_refused_with_what_to_do() {
    let dev = Dev::start();
    let second: Done = command_in(dev.dir()).output().unwrap().into();
    let second = second.expect_code(1);
    assert!(second.stderr.contains(&format!("pid {}", dev.pid())), "{}", second.stderr);
    assert!(second.stderr.contains("--data-dir"), "{}", second.stderr);
    dev.call(&["task", "list"]).expect_code(0);
}

#[test]
fn a_directory_of_a_newer_version_damaged_or_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), "999\n").unwrap();
    let newer: Done = command_in(dir.path()).output().unwrap().into();
    assert!(newer.expect_code(1).stderr.contains("newer version"));
    std::fs::write(dir.path().join("format"), "1\n").unwrap();
    std::fs::write(dir.path().join("asyncflow.db"), "x".repeat(8192)).unwrap();
    let damaged: Done = command_in(dir.path()).output().unwrap().into();
    let told = damaged.expect_code(1).stderr;
    for part in ["asyncflow.db", "not a database", "put a backup in its place", "--data-dir"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let unusable: Done = command_in("/dev/null/x".as_ref()).output().unwrap().into();
    assert!(unusable.expect_code(1).stderr.contains("/dev/null/x"));
}

#[test]
fn wrong_settings_are_2_and_those_of_all_programs_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        "broker.lease.ttl_ms=1000",
        "broker.no_such_key=1",
        "governor.leader.ttl_ms=1",
        "worker.slots=-1",
    ];
    let mut command = command_in(dir.path());
    let done: Done = command.args(wrong.map(|one| format!("--set={one}"))).output().unwrap().into();
    let done = done.expect_code(2);
    for told in ["lease.ttl_ms", "no_such_key", "leader.ttl_ms", "slots", "\nworker: the "] {
        assert!(done.stderr.contains(told), "{told:?}: {}", done.stderr);
    }
}

#[test]
fn a_taken_port_is_told_with_its_address() {
    let dev = Dev::start();
    let dir = tempfile::tempdir().unwrap();
    let taken = dev.broker.trim_start_matches("http://");
    let mut command = crate::program::asyncflow(&["dev", "--listen", taken, "--data-dir"]);
    let done: Done = command.arg(dir.path()).output().unwrap().into();
    let done = done.expect_code(1);
    assert!(done.stderr.contains(taken) && done.stderr.contains("--listen"), "{}", done.stderr);
}

#[test]
fn sigterm_ends_it_cleanly_and_a_new_one_goes_on_with_the_same_tasks() {
    let dev = Dev::start();
    dev.idle_task(&["--name", "kept"]);
    let worker = |dev: &Dev| {
        // A task that has run shows that the worker has registered.
        dev.call(&["run", "--", "true"]).expect_code(0);
        dev.call(&["worker", "list", "-o", "id"]).expect_code(0).stdout
    };
    let tasks = |dev: &Dev| dev.call(&["task", "list", "-o", "id"]).expect_code(0).stdout;
    let (worker_before, tasks_before) = (worker(&dev), tasks(&dev));
    assert_eq!(tasks_before.lines().count(), 2);
    let (code, dir) = dev.stop();
    assert_eq!(code, 0);
    assert!(!dir.path().join("dev.json").exists());

    let dev = Dev::start_in(dir);
    assert_eq!(tasks(&dev), tasks_before);
    assert_eq!(worker(&dev), worker_before);
}

#[test]
fn a_killed_one_leaves_a_directory_that_can_be_used_again() {
    let dev = Dev::start();
    let id = dev.idle_task(&[]);
    let dir = dev.kill();
    let dev = Dev::start_in(dir);
    dev.call(&["task", "get", &id]).expect_code(0);
}

#[test]
fn what_ran_when_it_was_stopped_goes_on_at_the_next_start() {
    let dev = Dev::start();
    let script = r#"[ "$ASYNCFLOW_ATTEMPT" -gt 1 ] && exit 0; echo started; sleep 600"#;
    let args = ["run", "--detach", "-o", "id", "--max-retries", "0", "--", "sh", "-c", script];
    let id = dev.call(&args).expect_code(0).stdout.trim().to_owned();
    let mut logs =
        dev.command(&["task", "logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(logs.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    let (code, dir) = dev.stop();
    assert_eq!(code, 0);
    logs.kill().unwrap();
    logs.wait().unwrap();

    let dev = Dev::start_in(dir);
    dev.call(&["task", "wait", &id]).expect_code(0);
    let task = dev.call(&["task", "get", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!((&task["attempt"], &task["failures"]), (&2.into(), &0.into()));
}

#[test]
fn metrics_and_health_are_served() {
    let dev = Dev::start();
    for (path, expected) in [("/readyz", "200 OK"), ("/metrics", "asyncflow_uptime_seconds")] {
        let address = dev.http.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expected), "{path}: {answer}");
    }
}

//! `asyncflow run` and `asyncflow task wait`: the task's end is the command's end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{
    dev_process::{Dev, signal},
    program::{Done, call},
};
use nix::sys::signal::Signal;
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

#[test]
fn it_passes_output_and_exit_code_on() {
    let dev = Dev::start();
    let done =
        dev.call(&["run", "--", "sh", "-c", "echo out; echo err >&2; echo $GREETING; exit 0"]);
    assert_eq!(done.expect_code(0).stdout, "out\n\n");

    let args = ["run", "--env", "GREETING=hello", "--", "sh", "-c", "echo err >&2; echo $GREETING"];
    let done = dev.call(&args).expect_code(0);
    assert_eq!(done.stdout, "hello\n");
    assert!(done.stderr.contains("err\n"), "{}", done.stderr);

    let once = ["run", "--max-retries", "0", "--"];
    dev.call(&[&once[..], &["sh", "-c", "exit 7"]].concat()).expect_code(7);
    dev.call(&[&once[..], &["sh", "-c", "kill -9 $$"]].concat()).expect_code(137);
    dev.call(&[&once[..], &["/no/such/program"]].concat()).expect_code(127);
    dev.call(&["task", "wait", "last"]).expect_code(127);
}

/// The lines of a stream until one has this in it.
fn read_until(stream: impl Read, what: &str) -> impl BufRead {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains(what) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "it never says {what:?}");
    }
    stream
}

#[test]
fn what_follows_a_task_waits_for_a_broker_that_is_started_anew() {
    let dev = Dev::start();
    let go = dev.dir().join("go");
    let script =
        format!("echo begun; while [ ! -e {} ]; do sleep 0.05; done; exit 9", go.display());
    let follow = |args: &[&str]| {
        let mut command = dev.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut run = follow(&["run", "--max-retries", "0", "--", "sh", "-c", &script]);
    read_until(run.stdout.take().unwrap(), "begun");
    let mut logs = follow(&["task", "logs", "--follow", "last"]);
    read_until(logs.stdout.take().unwrap(), "begun");

    let broker = dev.broker.clone();
    let dir = dev.kill();
    let away = "waiting for the broker at http://127.0.0.1:";
    let _rest = [&mut run, &mut logs].map(|it| read_until(it.stderr.take().unwrap(), away));
    let _dev = Dev::start_again(&broker, dir);
    std::fs::write(&go, "").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(9));
    assert_eq!(logs.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_interrupt_leaves_though_no_broker_is_there() {
    let dev = Dev::start();
    let go = dev.dir().join("go");
    let script = format!("echo begun; while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let mut command = dev.command(&["run", "--", "sh", "-c", &script]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    read_until(run.stdout.take().unwrap(), "begun");
    let broker = dev.broker.clone();
    let dir = dev.kill();
    let told = read_until(run.stderr.take().unwrap(), "waiting for the broker");
    signal(&run, Signal::SIGINT);
    let _rest = read_until(told, "cancelling the task");
    signal(&run, Signal::SIGINT);
    assert_eq!(run.wait().unwrap().code(), Some(130));

    let dev = Dev::start_again(&broker, dir);
    std::fs::write(&go, "").unwrap();
    dev.call(&["task", "wait", "last"]).expect_code(0);
}

#[test]
fn a_detached_task_can_be_waited_for() {
    let dev = Dev::start();
    let args = ["run", "--detach", "-o", "id", "--max-retries", "0", "--", "sh", "-c", "exit 9"];
    let id = dev.call(&args).expect_code(0).stdout.trim().to_owned();
    dev.call(&["task", "wait", &id]).expect_code(9);
    let task = dev.call(&["task", "get", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!((&task["state"], &task["task_type"]), (&"FAILED".into(), &"command".into()));
    let attempts = dev.call(&["task", "attempts", &id, "-o", "jsonl"]).expect_code(0).json();
    assert_eq!((&attempts["exit_code"], &attempts["outcome"]), (&9.into(), &"FAILED".into()));
}

/// A server that reads a request and goes away, for good: nobody knows what it did with it.
fn server_that_dies_behind_a_request() -> (String, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        // An HTTP/2 SETTINGS frame, so that the client sends what it has.
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        while !got.windows(4).any(|bytes| bytes == b"true") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the client went away");
            got.extend_from_slice(&piece[..read]);
        }
    });
    (address, served)
}

#[test]
fn a_create_without_an_answer_says_how_to_find_out_what_became_of_it() {
    for create in [&["run", "-d"][..], &["task", "create"], &["run", "-d", "--request-id", "mine"]]
    {
        let (address, served) = server_that_dies_behind_a_request();
        let args = [create, &["--broker", &address, "--", "true"]].concat();
        let done = call(&args).expect_code(5);
        served.join().unwrap();
        for part in ["is not known", "--request-id", "asyncflow task list"] {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
        let is_mine = done.stderr.contains("--request-id mine");
        assert_eq!(is_mine, create.contains(&"mine"), "{}", done.stderr);
    }
}

/// Nothing listens there, or there is no such host: nothing was sent.
#[test]
fn a_create_that_was_never_sent_is_not_in_doubt() {
    for address in ["http://127.0.0.1:1", "http://no-such-host.invalid:7070"] {
        let done = call(&["run", "-d", "--broker", address, "--", "true"]).expect_code(5);
        assert!(!done.stderr.contains("is not known"), "{address}: {}", done.stderr);
    }
}

#[test]
fn waiting_may_end_before_the_task() {
    let dev = Dev::start();
    let id = dev.idle_task(&[]);
    let done = dev.call(&["task", "wait", &id, "--timeout", "50ms"]).expect_code(1);
    assert!(done.stderr.contains("has not ended"), "{}", done.stderr);
}

#[test]
fn the_first_interrupt_cancels_the_task() {
    let dev = Dev::start();
    let mut child = dev
        .command(&["run", "--", "sh", "-c", "echo started; sleep 600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    signal(&child, Signal::SIGINT);
    let done: Done = child.wait_with_output().unwrap().into();
    let done = done.expect_code(130);
    assert!(done.stderr.contains("CANCELLED"), "{}", done.stderr);
    let task = dev.call(&["task", "get", "last", "-o", "json"]).expect_code(0).json();
    assert_eq!(task["state"], "CANCELLED");
}

#[test]
fn the_log_is_there_afterwards() {
    let dev = Dev::start();
    dev.call(&["run", "--", "sh", "-c", "echo one; echo two; echo three"]).expect_code(0);
    assert_eq!(dev.call(&["task", "logs", "last"]).expect_code(0).stdout, "one\ntwo\nthree\n");
    let tail = dev.call(&["task", "logs", "last", "--tail", "1"]).expect_code(0);
    assert_eq!(tail.stdout, "three\n");
    let json = dev.call(&["task", "logs", "last", "-o", "jsonl"]).expect_code(0);
    let texts = json.lines().into_iter().map(|line| {
        let chunk: serde_json::Value = serde_json::from_str(line).unwrap();
        chunk["data"]["text"].as_str().unwrap().to_owned()
    });
    assert!(texts.collect::<String>().contains("one\ntwo\nthree\n"));
}

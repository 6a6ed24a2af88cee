//! Tasks outlive their worker: it is killed, upgraded or detached, and the next one goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use std::{path::Path, time::Duration};

use asyncflow_proto::{ATTEMPT_TOKEN_METADATA, time::duration};
use asyncflow_sdk::v1::{
    Content, FailureReason, GetAttemptRequest, SaveContextRequest, SetAttemptResultRequest, Task,
    attempt_service_client::AttemptServiceClient,
};
use fake::{FakeBroker, Settled, command_task};
use nix::sys::signal::Signal;
use support::{
    alive_with, failure,
    program::{Program, exit_record, shim_of},
    unique,
};

fn script(id: &str, text: &str) -> Task {
    command_task(id, "bash", &["-c", text])
}

/// Waits until a task has written this to its stdout.
async fn said(broker: &FakeBroker, task_id: &str, text: &str) {
    let key = (task_id.to_owned(), 1);
    let says = |log: &Vec<u8>| String::from_utf8_lossy(log).contains(text);
    broker.until(text, |state| state.logs.get(&key).filter(|log| says(log)).map(drop)).await;
}

/// Waits until the next worker process has said which attempts it goes on with.
async fn adopted(broker: &FakeBroker, registration: usize) -> Vec<String> {
    let mut ids = broker
        .until("a registration", |state| {
            let call = state.registrations.get(registration)?;
            Some(call.adopted.iter().map(|lease| lease.task_id.clone()).collect::<Vec<_>>())
        })
        .await;
    ids.sort();
    ids
}

/// Writes numbered lines to both streams, and saves stages, until `go` is there; exits with 3.
fn busy(id: &str, go: &Path) -> Task {
    let text = format!(
        r#"echo "pid $$"; i=0
        while [ ! -e {} ]; do
            echo "line $i"; echo "oops $i" >&2
            [ $((i % 20)) = 0 ] &&
                echo "{{\"event\":\"stage\",\"stage\":\"s$i\"}}" >> "$ASYNCFLOW_EVENTS"
            i=$((i + 1)); sleep 0.004
        done
        echo "end $i $$"; exit 3"#,
        go.display()
    );
    script(id, &text)
}

/// Nothing is missing, nothing is there twice, and it is one process from the start to the end.
fn check_busy(broker: &FakeBroker, id: &str) {
    let log = broker.log(id, 1);
    let lines: Vec<&str> = log.lines().collect();
    let pid = lines[0].strip_prefix("pid ").unwrap();
    let count = lines.len() - 2;
    assert_eq!(lines[count + 1], format!("end {count} {pid}"));
    for (number, line) in lines[1..=count].iter().enumerate() {
        assert_eq!(*line, format!("line {number}"));
    }
    let errors: Vec<String> = broker.log(id, 2).lines().map(str::to_owned).collect();
    let expected: Vec<String> = (0..count).map(|number| format!("oops {number}")).collect();
    assert_eq!(errors, expected);
    let stages: Vec<String> = broker.change(|state| {
        let own = state.contexts.iter().filter(|save| save.lease.as_ref().unwrap().task_id == id);
        own.map(|save| save.stage.clone().unwrap()).collect()
    });
    let mut seen = stages.clone();
    // One whose answer a killed worker did not hear is saved again, before any other.
    seen.dedup();
    let expected: Vec<String> = (0..count).step_by(20).map(|number| format!("s{number}")).collect();
    assert_eq!(seen, expected);
    let again = stages.len() - expected.len();
    println!("{count} lines on each stream, {} stages, {again} of them said again", stages.len());
}

#[tokio::test]
async fn a_killed_worker_loses_no_line_and_no_exit_code() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let mut worker = Program::start(&broker, dir.path(), &[]);
    broker.add(busy("command-1-busy", &go));
    for (kills, line) in [(1, "line 60\n"), (2, "line 130\n"), (3, "line 170\n"), (4, "line 260\n")]
    {
        said(&broker, "command-1-busy", line).await;
        worker.kill().await;
        worker = Program::start(&broker, dir.path(), &[]);
        assert_eq!(adopted(&broker, kills).await, ["command-1-busy"]);
    }
    said(&broker, "command-1-busy", "line 330\n").await;
    std::fs::write(&go, "").unwrap();
    let (reason, _, exit_code, _) = failure(broker.settled("command-1-busy").await);
    assert_eq!((reason, exit_code), (FailureReason::Error, Some(3)));
    check_busy(&broker, "command-1-busy");
    let state = broker.state();
    assert_eq!((state.history.len(), state.log_overlaps), (1, 0));
    assert_eq!(state.started.len(), 1, "it was run once");
}

/// A worker reads several saves at once and is killed between them: the next one would take the
/// context back to the first of them.
#[tokio::test]
async fn what_a_killed_worker_had_saved_is_not_saved_again() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    broker.change(|state| state.saves_max = Some(2));
    let worker = Program::start(&broker, dir.path(), &[]);
    let stages = ["a", "b", "c"];
    let events = stages.map(|stage| format!(r#"{{"event":"stage","stage":"{stage}"}}"#));
    let go = dir.path().join("go");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let text = format!("echo '{}' >> \"$ASYNCFLOW_EVENTS\"; {wait}", events.join("\n"));
    broker.add(script("command-1-saves", &text));
    broker.until("a third", |state| (state.saves_refused > 0).then_some(())).await;
    worker.kill().await;
    broker.change(|state| state.saves_max = None);
    let _next = Program::start(&broker, dir.path(), &[]);
    let is_saved = |save: &SaveContextRequest| save.stage.as_deref() == Some("c");
    broker.until("c", |state| state.contexts.iter().any(is_saved).then_some(())).await;
    let saved: Vec<String> =
        broker.state().contexts.iter().filter_map(|save| save.stage.clone()).collect();
    assert_eq!(saved, stages);
    std::fs::write(&go, "").unwrap();
    let Settled::Completed(_) = broker.settled("command-1-saves").await else { panic!() };
}

#[tokio::test]
async fn what_ended_while_no_worker_was_there_is_told_by_the_next_one() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let worker = Program::start(&broker, dir.path(), &[]);
    let wait = format!("echo begun; until [ -e {} ]; do sleep 0.01; done", go.display());
    let result = r#"echo '{"event":"result","data":"done"}' >> "$ASYNCFLOW_EVENTS""#;
    broker.add(script("command-1-alone", &format!("{wait}; echo alone; {result}")));
    said(&broker, "command-1-alone", "begun").await;
    worker.kill().await;
    std::fs::write(&go, "").unwrap();
    exit_record(dir.path(), "command-1-alone.1").await;
    let _next = Program::start(&broker, dir.path(), &[]);
    let Settled::Completed(call) = broker.settled("command-1-alone").await else { panic!() };
    assert_eq!(&call.result.unwrap().data[..], b"\"done\"");
    assert_eq!(broker.log("command-1-alone", 1), "begun\nalone\n");
    // It is settled: the one after that has nothing to do with it.
    let lease = dir.path().join("attempts/command-1-alone.1/lease.pb");
    while lease.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As an upgrade does it: the file is replaced under four running tasks, the worker is told to
/// detach, and the new program goes on.
#[tokio::test]
async fn a_replaced_binary_goes_on_with_the_tasks_of_the_old_one() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (data, go) = (dir.path().join("data"), dir.path().join("go"));
    let install = || {
        let (new, path) = (dir.path().join("new"), dir.path().join("asyncflow-worker"));
        std::fs::copy(env!("CARGO_BIN_EXE_asyncflow-worker"), &new).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    };
    let program = install();
    let old = Program::start_from(&program, &broker, &data, &[]);
    let ids = ["command-1-a", "command-1-b", "command-1-c", "command-1-d"];
    ids[..3].iter().for_each(|id| broker.add(busy(id, &go)));
    for id in &ids[..3] {
        said(&broker, id, "line 10\n").await;
    }
    install();
    // The worker's own file is gone by now, and it still starts tasks.
    broker.add(busy(ids[3], &go));
    said(&broker, ids[3], "line 10\n").await;
    old.signal(Signal::SIGUSR1);
    assert_eq!(old.ended().await, Some(0));
    assert!(!broker.state().deregistered);
    let exe = |id: &str| {
        let shim = shim_of(&data, &format!("{id}.1"));
        std::fs::read_link(format!("/proc/{shim}/exe")).unwrap().display().to_string()
    };
    assert!(ids.iter().all(|id| exe(id).ends_with("(deleted)")));
    let _new = Program::start_from(&program, &broker, &data, &[]);
    assert_eq!(adopted(&broker, 1).await, ids);
    broker.add(busy("command-1-new", &go));
    said(&broker, "command-1-new", "line 10\n").await;
    assert!(!exe("command-1-new").ends_with("(deleted)"));
    std::fs::write(&go, "").unwrap();
    for id in ids.into_iter().chain(["command-1-new"]) {
        assert_eq!(failure(broker.settled(id).await).2, Some(3));
        check_busy(&broker, id);
    }
    assert_eq!(broker.state().history.len(), 5);
}

#[tokio::test]
async fn what_somebody_else_runs_by_now_is_killed() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let marker = unique();
    let worker = Program::start(&broker, dir.path(), &[]);
    let mut task =
        script("command-1-lost", "trap '' TERM; echo begun; setsid sleep 1000 & sleep 1000");
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    said(&broker, "command-1-lost", "begun").await;
    worker.kill().await;
    assert!(!alive_with(&marker).is_empty(), "it outlives its worker");
    broker.change(|state| state.leases.insert("command-1-lost".to_owned(), 2));
    let _next = Program::start(&broker, dir.path(), &[]);
    let gone = async {
        while !alive_with(&marker).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is left running");
    broker.add(script("command-1-after", "exit 0"));
    broker.settled("command-1-after").await;
    assert!(!broker.state().settled.contains_key("command-1-lost"));
}

#[tokio::test]
async fn the_time_limit_holds_while_no_worker_is_there() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let worker = Program::start(&broker, dir.path(), &["stop_grace_ms=200"]);
    let mut task = script("command-1-long", "trap '' TERM; echo begun; while :; do sleep 1; done");
    task.max_running_time = Some(duration(1_500));
    broker.add(task);
    said(&broker, "command-1-long", "begun").await;
    worker.kill().await;
    let record = exit_record(dir.path(), "command-1-long.1").await;
    assert_eq!(record["told"]["reason"], "timed_out");
    assert!(record["ran_ms"].as_i64().unwrap() < 10_000, "{record}");
    let _next = Program::start(&broker, dir.path(), &[]);
    let (reason, permanent, exit_code, _) = failure(broker.settled("command-1-long").await);
    assert_eq!((reason, permanent, exit_code), (FailureReason::TimedOut, false, Some(-9)));
}

#[tokio::test]
async fn a_cancel_while_no_worker_was_there_is_followed_by_the_next_one() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let worker = Program::start(&broker, dir.path(), &[]);
    broker.add(script("command-1-cancel", "echo begun; sleep 1000"));
    said(&broker, "command-1-cancel", "begun").await;
    worker.kill().await;
    broker.change(|state| state.cancelled.insert("command-1-cancel".to_owned()));
    let _next = Program::start(&broker, dir.path(), &[]);
    let (reason, _, exit_code, _) = failure(broker.settled("command-1-cancel").await);
    assert_eq!((reason, exit_code), (FailureReason::Cancelled, Some(-15)));
}

/// Ten minutes and a lease of thirty seconds, scaled: four leases.
#[tokio::test]
async fn while_no_broker_is_there_everything_goes_on() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let _worker = Program::start(&broker, dir.path(), &[]);
    broker.add(busy("command-1-away", &go));
    said(&broker, "command-1-away", "line 20\n").await;
    broker.change(|state| state.is_down = true);
    tokio::time::sleep(Duration::from_millis(4 * fake::LEASE_TTL_MS as u64)).await;
    let beats = broker.change(|state| {
        state.is_down = false;
        state.heartbeats
    });
    broker.until("heartbeats", |state| (state.heartbeats > beats).then_some(())).await;
    // The end of a log has five seconds to arrive, which is less than its sender may pause by now.
    let seen = broker.log("command-1-away", 1).len();
    let flows = async {
        while broker.log("command-1-away", 1).len() <= seen {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), flows).await.expect("the log goes on");
    std::fs::write(&go, "").unwrap();
    assert_eq!(failure(broker.settled("command-1-away").await).2, Some(3));
    check_busy(&broker, "command-1-away");
}

#[tokio::test]
async fn socket_and_token_are_the_same_after_adoption() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let worker = Program::start(&broker, dir.path(), &[]);
    let wait = format!("until [ -e {} ]; do sleep 0.01; done; exit 0", go.display());
    broker.add(script(
        "command-1-call",
        &format!("echo $ASYNCFLOW_SOCKET $ASYNCFLOW_ATTEMPT_TOKEN; echo begun; {wait}"),
    ));
    said(&broker, "command-1-call", "begun\n").await;
    let log = broker.log("command-1-call", 1);
    let (socket, token) = log.lines().next().unwrap().split_once(' ').unwrap();
    let connect = || {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{socket}")).unwrap();
        AttemptServiceClient::connect(endpoint)
    };
    fn with<T>(message: T, token: &str) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert(ATTEMPT_TOKEN_METADATA, token.parse().unwrap());
        request
    }
    let result = Some(Content { data: "kept".into(), ..Content::default() });
    let call = with(SetAttemptResultRequest { result }, token);
    connect().await.unwrap().set_attempt_result(call).await.unwrap();
    worker.kill().await;
    let _next = Program::start(&broker, dir.path(), &[]);
    assert_eq!(adopted(&broker, 1).await, ["command-1-call"]);
    let task = connect().await.unwrap().get_attempt(with(GetAttemptRequest {}, token)).await;
    assert_eq!(task.unwrap().into_inner().task.unwrap().id, "command-1-call");
    std::fs::write(&go, "").unwrap();
    let Settled::Completed(call) = broker.settled("command-1-call").await else { panic!() };
    assert_eq!(&call.result.unwrap().data[..], b"kept", "what was set before counts");
}

/// Its shim is killed: nobody can tell how the task would have ended, so it ends with it.
#[tokio::test]
async fn a_killed_shim_ends_its_task_and_is_told() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let marker = unique();
    let _worker = Program::start(&broker, dir.path(), &[]);
    let mut task = script("command-1-shim", "echo begun; sleep 1000");
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    said(&broker, "command-1-shim", "begun").await;
    let shim = nix::unistd::Pid::from_raw(shim_of(dir.path(), "command-1-shim.1"));
    nix::sys::signal::kill(shim, Signal::SIGKILL).unwrap();
    let (reason, permanent, ..) = failure(broker.settled("command-1-shim").await);
    assert_eq!((reason, permanent), (FailureReason::Killed, false));
    assert_eq!(alive_with(&marker), Vec::<i32>::new());
}

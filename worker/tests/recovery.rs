//! What a worker's death leaves behind: processes, outcomes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use std::path::Path;

use asyncflow_sdk::v1::FailureReason;
use fake::{FakeBroker, Settled, command_task};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{
    alive_with,
    program::{Program, shim_of},
    small_disk::SmallDisk,
    unique,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn ready(broker: &FakeBroker, task_id: &str) {
    let key = (task_id.to_owned(), 1);
    broker.until("output", |state| state.logs.get(&key).map(drop)).await;
}

/// A worker and its shim are killed and leave the task running; nobody could tell how it ends, so
/// the next worker ends it before it takes anything.
#[tokio::test]
async fn leftovers_of_a_killed_worker_are_ended_before_the_first_acquire() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let marker = unique();
    let first = Program::start(&broker, dir.path(), &[]);
    // One is known by its session alone, another by the worker's variable alone.
    let script = "env -i MARKER=$MARKER sleep 1000 & setsid sleep 1000 & echo ready; sleep 1000";
    let mut task = command_task("command-1-left", "sh", &["-c", script]);
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    ready(&broker, "command-1-left").await;
    first.signal(Signal::SIGKILL);
    first.ended().await;
    kill(Pid::from_raw(shim_of(dir.path(), "command-1-left.1")), Signal::SIGKILL).unwrap();
    assert!(!alive_with(&marker).is_empty(), "a child on files outlives its worker");

    let acquires = broker.state().acquires.len();
    let _second = Program::start(&broker, dir.path(), &[]);
    broker.until("an acquire", |state| (state.acquires.len() > acquires).then_some(())).await;
    assert_eq!(alive_with(&marker), Vec::<i32>::new());
    let registrations = broker.change(|state| state.registrations.clone());
    assert_eq!(registrations[0].worker_id, registrations[1].worker_id);
    assert_ne!(registrations[0].incarnation, registrations[1].incarnation);
}

async fn killed_with_an_outcome_in_its_journal(broker: &FakeBroker, dir: &Path) {
    let worker = Program::start(broker, dir, &[]);
    let go = dir.join("go");
    let wait = format!("echo ready; until test -e {}; do sleep 0.01; done", go.display());
    broker.add(command_task("command-1-j", "sh", &["-c", &wait]));
    ready(broker, "command-1-j").await;
    broker.change(|state| state.is_down = true);
    std::fs::write(go, "").unwrap();
    let entry = dir.join("journal/command-1-j.1.complete");
    while !entry.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    worker.signal(Signal::SIGKILL);
    worker.ended().await;
    broker.change(|state| state.is_down = false);
}

#[tokio::test]
async fn an_outcome_in_the_journal_is_delivered_by_the_next_process() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    killed_with_an_outcome_in_its_journal(&broker, dir.path()).await;
    assert!(broker.state().settled.is_empty());
    let _next = Program::start(&broker, dir.path(), &[]);
    assert!(matches!(broker.settled("command-1-j").await, Settled::Completed(_)));
    assert_eq!(broker.state().registrations[1].adopted.len(), 1);
    let entry = dir.path().join("journal/command-1-j.1.complete");
    while entry.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_outcome_that_comes_too_late_is_kept_as_rejected() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    killed_with_an_outcome_in_its_journal(&broker, dir.path()).await;
    broker.change(|state| state.leases.insert("command-1-j".to_owned(), 2));
    let _next = Program::start(&broker, dir.path(), &[]);
    let rejected = dir.path().join("rejected/command-1-j.1.complete");
    while !rejected.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(broker.state().settled.is_empty());
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_kills() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let marker = unique();
    let worker = Program::start(&broker, dir.path(), &["drain_time_ms=600000"]);
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let mut task = command_task("command-1-two", "sh", &["-c", stubborn]);
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    ready(&broker, "command-1-two").await;
    worker.signal(Signal::SIGTERM);
    broker.until("a heartbeat that says so", |state| state.is_draining.then_some(())).await;
    assert!(!alive_with(&marker).is_empty(), "a drain kills nothing at first");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0));
    assert_eq!(alive_with(&marker), Vec::<i32>::new());
    let Settled::Released(call) = broker.settled("command-1-two").await else { panic!() };
    assert_eq!(call.failure.unwrap().reason(), FailureReason::Drained);
}

#[tokio::test]
async fn a_data_dir_in_use_and_bad_settings_end_the_program_with_words() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let _first = Program::start(&broker, dir.path(), &[]);
    broker.until("a registration", |state| state.registrations.first().map(drop)).await;
    assert_eq!(Program::start(&broker, dir.path(), &[]).ended().await, Some(1));
    assert_eq!(Program::start(&broker, dir.path(), &["slots=many"]).ended().await, Some(2));
}

/// What the worker says of itself under this name.
async fn metric(address: std::net::SocketAddr, name: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1).map(str::to_owned)
}

/// The disk is full when the task ends, and no broker takes its end: that is kept in memory, no
/// task is asked for meanwhile, and it is told from there. With room again everything goes on.
#[tokio::test]
async fn an_outcome_that_the_disk_does_not_take_is_kept_in_memory() {
    const JOURNAL_OK: &str = "asyncflow_worker_journal_ok";
    let broker = FakeBroker::start().await;
    let Some(disk) = SmallDisk::mount() else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = disk.path().join("data");
    let metrics = format!("metrics.address={address}");
    let worker = Program::start(&broker, &data, &[&metrics]);
    let go = elsewhere.path().join("go");
    let script = format!(
        r#"echo '{{"event":"result","data":"kept"}}' >> "$ASYNCFLOW_EVENTS"
        echo ready; until test -e {}; do sleep 0.01; done"#,
        go.display()
    );
    broker.add(command_task("command-1-full", "sh", &["-c", &script]));
    ready(&broker, "command-1-full").await;
    let ballast = disk.path().join("ballast");
    let filled = std::fs::write(&ballast, vec![0; 8 << 20]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    broker.change(|state| state.takes_no_outcome = true);
    std::fs::write(go, "").unwrap();
    while metric(address, JOURNAL_OK).await.as_deref() != Some("0") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    // This one goes to the poll that was open then; the other one waits.
    broker.add(command_task("command-1-open", "true", &[]));
    broker.until("it is given out", |state| state.leases.get("command-1-open").copied()).await;
    broker.add(command_task("command-1-next", "true", &[]));
    let heartbeats = broker.state().heartbeats;
    broker.until("time passes", |state| (state.heartbeats > heartbeats + 20).then_some(())).await;
    assert!(!broker.state().leases.contains_key("command-1-next"), "it asks for tasks");
    assert!(broker.state().settled.is_empty());
    broker.change(|state| state.takes_no_outcome = false);
    let Settled::Completed(call) = broker.settled("command-1-full").await else { panic!() };
    assert_eq!(call.result.unwrap().data, r#""kept""#);
    assert!(!data.join("journal/command-1-full.1.complete").exists(), "the disk is still full");

    std::fs::remove_file(ballast).unwrap();
    assert!(matches!(broker.settled("command-1-next").await, Settled::Completed(_)));
    while metric(address, JOURNAL_OK).await.as_deref() != Some("1") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    worker.kill().await;
}

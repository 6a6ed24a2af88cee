//! Python environments, containers and the code of commands, against a fake broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use asyncflow_sdk::{
    code::CodeState,
    v1::{CodeSnapshot, Command, Container, FailureReason, Task},
};
use fake::{FakeBroker, Settled, command_task};
use support::{Worker, alive_with, failure, unique};

fn script(id: &str, text: &str, change: impl FnOnce(&mut Command)) -> Task {
    let mut task = command_task(id, "sh", &["-ec", text]);
    change(task.command.as_mut().unwrap());
    task
}

fn result(settled: Settled) -> String {
    let Settled::Completed(call) = settled else { panic!("not completed: {settled:?}") };
    String::from_utf8(call.result.unwrap_or_default().data.to_vec()).unwrap()
}

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_python_of_the_environment_is_the_first_that_is_found() {
    let broker = FakeBroker::start().await;
    let root = tempfile::tempdir().unwrap();
    let prefix = root.path().join("envs/torch");
    fs::create_dir_all(prefix.join("conda-meta")).unwrap();
    let own = r#"#!/bin/sh
        printf '{"event":"result","data":"%s"}\n' "$CONDA_DEFAULT_ENV" >> "$ASYNCFLOW_EVENTS"
    "#;
    program(&prefix.join("bin/python3"), own);
    let roots = vec![root.path().to_owned()];
    let _worker = Worker::start(&broker, |config| config.command.conda_roots = roots);
    let mut task = command_task("command-1-named", "python3", &[]);
    task.command.as_mut().unwrap().python_environment = "torch".to_owned();
    broker.add(task);
    assert_eq!(result(broker.settled("command-1-named").await), "\"torch\"");

    broker.add(script("command-1-gone", "exit 0", |command| {
        command.python_environment = "tensorflow".to_owned();
    }));
    let (reason, permanent, _, message) = failure(broker.settled("command-1-gone").await);
    assert_eq!((reason, permanent), (FailureReason::CommandNotRunnable, true));
    let looked_for = root.path().join("envs/tensorflow");
    assert!(message.contains(looked_for.to_str().unwrap()), "{message}");
}

/// A mock of an engine's client, as none is installed where tests run: it notes its arguments, runs
/// the program in the background of a name, and ends it by that name. As the real one it passes
/// TERM on, and leaves the program alone when it is killed itself.
fn mock_engine(dir: &Path) -> PathBuf {
    let path = dir.join("docker");
    let text = r#"#!/bin/sh
        here=$(dirname "$0")
        printf '%s\n' "$@" >> "$here/args"
        if [ "$1" = rm ]; then
            test ! -e "$here/is_down" || { echo Cannot connect >&2; exit 1; }
            echo "$3" >> "$here/removed"
            test ! -e "$here/$3.pid" || kill -KILL -- "-$(cat "$here/$3.pid")" 2>/dev/null
            exit 0
        fi
        if [ "$1" = inspect ]; then
            cat "$here/inspected"
            exit
        fi
        shift
        while :; do
            case "$1" in
                --name) name=$2; shift ;;
                --workdir=*) cd "${1#--workdir=}" ;;
                --*) ;;
                *) break ;;
            esac
            shift
        done
        shift
        setsid env -u ASYNCFLOW_ATTEMPT_TOKEN -u ASYNCFLOW_WORKER_MARK "$@" &
        echo $! > "$here/$name.pid"
        trap 'kill -TERM $!' TERM
        wait $!; code=$?
        while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
        exit "$code"
    "#;
    program(&path, text);
    path
}

fn contained(command: &mut Command) {
    let volumes = vec!["/data:/data:ro".to_owned()];
    command.container = Some(Container { image: "pytorch:2".to_owned(), volumes });
}

#[tokio::test]
async fn a_container_runs_the_program_and_is_removed_by_its_name() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = mock_engine(dir.path()).to_str().unwrap().to_owned();
    let _worker = Worker::start(&broker, |config| config.command.container_engine = engine);
    let text = r#"echo in $PWD; printf '{"event":"result","data":"%s"}\n' "$KEY" \
        >> "$ASYNCFLOW_EVENTS"; exit $CODE"#;
    for code in [0, 7] {
        let id = format!("command-1-in{code}");
        broker.add(script(&id, text, |command| {
            contained(command);
            let variables = [("KEY", "secret".to_owned()), ("CODE", code.to_string())];
            command.environment = variables.map(|(name, value)| (name.to_owned(), value)).into();
        }));
        match broker.settled(&id).await {
            Settled::Completed(call) => {
                assert_eq!(call.result.unwrap().data, "\"secret\"");
                assert_eq!(code, 0);
            }
            other => assert_eq!(failure(other).2, Some(7)),
        }
        let removed = fs::read_to_string(dir.path().join("removed")).unwrap();
        assert!(removed.lines().any(|name| name == format!("asyncflow-{id}-1")), "{removed}");
    }
    let args = fs::read_to_string(dir.path().join("args")).unwrap();
    assert!(args.contains("--volume=/data:/data:ro\n") && args.contains("pytorch:2\n"), "{args}");
    assert!(!args.contains("secret"), "{args}");
}

#[tokio::test]
async fn a_container_that_ignores_the_stop_is_ended_by_its_name() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = mock_engine(dir.path()).to_str().unwrap().to_owned();
    let _worker = Worker::start(&broker, |config| {
        config.command.container_engine = engine;
        config.stop_grace_ms = 300;
    });
    let marker = unique();
    let text = "trap : TERM; echo up; while :; do sleep 0.1; done";
    broker.add(script("command-1-deaf", text, |command| {
        contained(command);
        command.environment = [("MARKER".to_owned(), marker.clone())].into();
    }));
    let key = ("command-1-deaf".to_owned(), 1);
    let is_up = |state: &fake::State| state.logs.get(&key).is_some_and(|log| !log.is_empty());
    broker.until("it runs", |state| is_up(state).then_some(())).await;
    assert!(!alive_with(&marker).is_empty());
    broker.cancel("command-1-deaf");
    let (reason, ..) = failure(broker.settled("command-1-deaf").await);
    assert_eq!(reason, FailureReason::Cancelled);
    for _ in 0..100 {
        if alive_with(&marker).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it survives: {:?}", alive_with(&marker));
}

/// The program of a container, as the system shows it: no descendant of the engine's client. It
/// ends with its input.
fn held_elsewhere(bytes: i64, task_id: &str) -> std::process::Child {
    let script = format!("held=$(head -c {bytes} /dev/zero | tr '\\0' x); read line; echo $held");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("ASYNCFLOW_TASK_ID", task_id).env("ASYNCFLOW_ATTEMPT", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_container_is_measured_also_by_the_next_worker() {
    const HELD_BYTES: i64 = 100 << 20;
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = mock_engine(dir.path()).to_str().unwrap().to_owned();
    let mut inside = held_elsewhere(HELD_BYTES, "command-1-in");
    let inspected = format!("0123456789abcdef0123456789abcdef {}\n", inside.id());
    fs::write(dir.path().join("inspected"), inspected).unwrap();
    let settings = move |config: &mut asyncflow_worker::WorkerConfig| {
        config.command.container_engine.clone_from(&engine);
        config.gpu.sample_interval_ms = 100;
    };
    let mut first = Worker::start(&broker, &settings);
    for id in ["command-1-in", "command-1-other"] {
        broker.add(script(id, "echo up; sleep 100", contained));
    }
    let measured = |state: &fake::State| {
        let bytes = |id: &str| {
            let running = &state.reports.last()?.running;
            Some(running.iter().find(|task| task.task_id == id)?.memory_bytes)
        };
        // The engine names a process for the other one that is not of it.
        let is_other = |bytes| (1..HELD_BYTES).contains(&bytes);
        let found = (bytes("command-1-in")?, bytes("command-1-other")?);
        (found.0 >= HELD_BYTES && is_other(found.1)).then_some(())
    };
    broker.until("what it uses", measured).await;
    broker.order(|orders| orders.detach = true);
    first.end().await;
    broker.change(|state| {
        state.orders.detach = false;
        state.reports.clear();
    });
    let data_dir = first.dir.path().join("data");
    let _second = Worker::start(&broker, |config| {
        settings(config);
        config.data_dir = data_dir;
    });
    broker.until("what it uses", measured).await;
    broker.cancel("command-1-in");
    let Settled::Failed(call) = broker.settled("command-1-in").await else { panic!() };
    let usage = call.usage.unwrap();
    assert!(usage.memory_peak_bytes >= HELD_BYTES && usage.cpu_seconds > 0.0, "{usage:?}");
    broker.cancel("command-1-other");
    broker.settled("command-1-other").await;
    drop(inside.stdin.take());
    inside.wait().unwrap();
}

/// The daemon does not answer: whoever reads the log knows that the GPU may not be free.
#[tokio::test]
async fn a_container_that_cannot_be_removed_is_told() {
    let broker = FakeBroker::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = mock_engine(dir.path()).to_str().unwrap().to_owned();
    fs::write(dir.path().join("is_down"), "").unwrap();
    let _worker = Worker::start(&broker, |config| config.command.container_engine = engine);
    broker.add(script("command-1-left", "exit 3", contained));
    assert_eq!(failure(broker.settled("command-1-left").await).2, Some(3));
    let log = broker.log("command-1-left", 3);
    assert!(log.contains("may run on: "), "{log}");
    assert!(log.contains("rm --force asyncflow-command-1-left-1: exit code 1: Cannot connect"));
}

#[tokio::test]
async fn without_an_engine_it_is_said_what_is_missing() {
    let broker = FakeBroker::start().await;
    let engine = "/no/such/docker".to_owned();
    let _worker = Worker::start(&broker, |config| config.command.container_engine = engine);
    broker.add(script("command-1-none", "exit 0", contained));
    let (reason, permanent, _, message) = failure(broker.settled("command-1-none").await);
    assert_eq!((reason, permanent), (FailureReason::CommandNotRunnable, true));
    assert!(message.contains("/no/such/docker"), "{message}");
}

#[tokio::test]
async fn an_edit_after_the_submission_is_told_in_the_log() {
    let git = |dir: &Path, args: &[&str]| {
        let user = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut git = std::process::Command::new("git");
        let done = git.arg("-C").arg(dir).args(user).args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("train.py");
    git(dir.path(), &["init", "-q"]);
    fs::write(&file, "lr = 1\n").unwrap();
    fs::write(dir.path().join("utils.py"), "b = 1\n").unwrap();
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "a"]);
    // As it was then: one file edited, and one that git does not know.
    fs::write(dir.path().join("utils.py"), "b = 2\n").unwrap();
    fs::write(dir.path().join("notes"), "").unwrap();
    let state = CodeState::of(dir.path()).await.unwrap();
    let code = CodeSnapshot {
        directory: state.root.to_str().unwrap().to_owned(),
        commit: state.commit.clone(),
        diff: state.for_people(),
        diff_sha256: state.diff_sha256(),
    };
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    for (id, text) in [("command-1-same", None), ("command-1-other", Some("lr = 2\n"))] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        broker.add(script(id, "exit 0", |command| command.code = Some(code.clone())));
        let settled = broker.settled(id).await;
        let Settled::Completed(call) = settled else { panic!("not completed: {settled:?}") };
        let usage = call.usage.unwrap();
        assert_eq!(usage.code_commit, state.commit);
        assert_eq!(usage.code_changed, text.is_some(), "{id}");
        if text.is_some() {
            let log = broker.log(id, 3);
            let told = "the code is not the one that was submitted: train.py differs";
            assert!(log.contains(told), "{log}");
        }
    }
}

//! Command tasks with real processes and signals, against a fake broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use asyncflow_proto::time::duration;
use asyncflow_sdk::v1::{FailureReason, Task};
use fake::{FakeBroker, Settled, command_task};
use support::{Worker, alive_with, failure, unique};

fn script(id: &str, text: &str) -> Task {
    command_task(id, "sh", &["-c", text])
}

#[tokio::test]
async fn exit_codes_become_outcomes() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let table = [
        (1, FailureReason::Error, false),
        (64, FailureReason::Permanent, true),
        (75, FailureReason::RetryLater, false),
        (126, FailureReason::CommandNotRunnable, true),
        (127, FailureReason::CommandNotRunnable, true),
    ];
    for (code, ..) in table {
        broker.add(script(&format!("command-1-{code}"), &format!("exit {code}")));
    }
    broker.add(script("command-1-zero", "exit 0"));
    let stage = r#"echo '{"event":"stage","stage":"train"}' >> "$ASYNCFLOW_EVENTS"; exit 85"#;
    broker.add(script("command-1-85", stage));
    broker.add(script("command-1-signal", "kill -USR1 $$"));
    for (code, reason, permanent) in table {
        let failed = failure(broker.settled(&format!("command-1-{code}")).await);
        assert_eq!((failed.0, failed.1, failed.2), (reason, permanent, Some(code)));
    }
    let Settled::Completed(call) = broker.settled("command-1-zero").await else { panic!() };
    assert_eq!(call.exit_code, Some(0));
    let Settled::Released(call) = broker.settled("command-1-85").await else { panic!() };
    assert_eq!(call.failure.unwrap().reason(), FailureReason::Checkpointed);
    let failed = failure(broker.settled("command-1-signal").await);
    assert_eq!((failed.0, failed.2), (FailureReason::Killed, Some(-10)));
}

/// The same program would do the same again, at once and for ever.
#[tokio::test]
async fn who_asks_to_be_run_again_for_nothing_fails() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let says = |line: &str| format!("echo '{line}' >> \"$ASYNCFLOW_EVENTS\"; exit 85");
    let stage = says(r#"{"event":"stage","stage":"split"}"#);
    let mut same = script("command-1-same", &stage);
    same.stage = "split".to_owned();
    broker.add(same);
    broker.add(script("command-1-nothing", "exit 85"));
    let bad_wait = says(r#"{"event":"wait","signals":"approved"}"#);
    let bad_wait = stage.replace("exit 85", &bad_wait);
    broker.add(script("command-1-bad", &bad_wait));
    broker.add(script("command-1-children", &says(r#"{"event":"wait","children":true}"#)));
    for (id, reason, permanent, word) in [
        ("command-1-same", FailureReason::Error, false, "saved no stage"),
        ("command-1-nothing", FailureReason::Error, false, "nothing to wait for"),
        ("command-1-bad", FailureReason::Permanent, true, "events line 2"),
    ] {
        let failed = failure(broker.settled(id).await);
        assert_eq!((failed.0, failed.1, failed.2), (reason, permanent, Some(85)), "{failed:?}");
        assert!(failed.3.contains(word), "{failed:?}");
    }
    // Whether it has any that live, the broker knows.
    let Settled::Released(call) = broker.settled("command-1-children").await else { panic!() };
    assert_eq!(call.failure.unwrap().reason(), FailureReason::Error);
    assert!(call.wait_for.unwrap().children);
}

#[tokio::test]
async fn what_cannot_be_executed_fails_for_good_with_its_reason() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let plain = worker.dir.path().join("plain.txt");
    std::fs::write(&plain, "no program").unwrap();
    broker.add(command_task("command-1-missing", "no-such-program-here", &[]));
    broker.add(command_task("command-1-plain", plain.to_str().unwrap(), &[]));
    let mut nowhere = command_task("command-1-nowhere", "true", &[]);
    nowhere.command.as_mut().unwrap().working_directory = "/no/such/directory".to_owned();
    broker.add(nowhere);
    for (id, code, word) in [
        ("command-1-missing", 127, "no-such-program-here"),
        ("command-1-plain", 126, "plain.txt"),
        ("command-1-nowhere", 126, "/no/such/directory"),
    ] {
        let (reason, permanent, exit_code, message) = failure(broker.settled(id).await);
        assert_eq!(
            (reason, permanent, exit_code),
            (FailureReason::CommandNotRunnable, true, Some(code)),
            "{message}"
        );
        assert!(message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn the_program_sees_its_task_and_nothing_else_of_the_worker() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let mut task = script(
        "command-1-env",
        "echo id=$ASYNCFLOW_TASK_ID attempt=$ASYNCFLOW_ATTEMPT stage=$ASYNCFLOW_STAGE own=$OWN \
         context=$(cat $ASYNCFLOW_CONTEXT) cargo=$CARGO_MANIFEST_DIR; \
         test \"$PWD\" = \"$ASYNCFLOW_WORK_DIR\" && echo here; cat",
    );
    task.stage = "train".to_owned();
    task.context = Some(asyncflow_sdk::v1::Content { data: "ctx".into(), ..Default::default() });
    task.command.as_mut().unwrap().environment = [("OWN".to_owned(), "yes".to_owned())].into();
    broker.add(task);
    broker.settled("command-1-env").await;
    let expected = "id=command-1-env attempt=1 stage=train own=yes context=ctx cargo=\nhere\n";
    assert_eq!(broker.log("command-1-env", 1), expected);
    let kept = worker.attempt_dir("command-1-env.1").join("stdout.log");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), expected);
}

#[tokio::test]
async fn logs_arrive_while_the_program_runs() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let go = worker.dir.path().join("go");
    broker.add(script(
        "command-1-live",
        &format!(
            "echo early; echo oops >&2; until test -e {}; do sleep 0.01; done; echo late",
            go.display()
        ),
    ));
    let seen = |stream: i32, text: &'static str| {
        let key = ("command-1-live".to_owned(), stream);
        broker.until(text, move |state| {
            let log = state.logs.get(&key)?;
            String::from_utf8_lossy(log).contains(text).then_some(())
        })
    };
    seen(1, "early").await;
    seen(2, "oops").await;
    assert!(!broker.state().settled.contains_key("command-1-live"));
    std::fs::write(go, "").unwrap();
    broker.settled("command-1-live").await;
    assert_eq!(broker.log("command-1-live", 1), "early\nlate\n");
}

#[tokio::test]
async fn a_cancel_kills_the_whole_tree_even_what_ignores_term_and_left_the_session() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |config| config.stop_grace_ms = 200);
    let marker = unique();
    let stubborn = "trap '' TERM; while :; do sleep 1; done";
    let task = script(
        "command-1-tree",
        &format!(
            "trap '' TERM; sh -c \"{stubborn}\" & \
             setsid sh -c 'setsid sh -c \"{stubborn}\" & wait' & \
             echo ready; while :; do sleep 1; done"
        )
        .replace("{stubborn}", stubborn),
    );
    let mut task = task;
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    broker
        .until("ready", |state| state.logs.get(&("command-1-tree".to_owned(), 1)).map(drop))
        .await;
    assert!(alive_with(&marker).len() >= 3, "{:?}", alive_with(&marker));
    broker.cancel("command-1-tree");
    let (reason, ..) = failure(broker.settled("command-1-tree").await);
    assert_eq!(reason, FailureReason::Cancelled);
    assert_eq!(alive_with(&marker), Vec::<i32>::new());
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let marker = unique();
    let mut task = script("command-1-daemon", "setsid sleep 1000 & sleep 1000 & exit 0");
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    let settled = broker.settled("command-1-daemon").await;
    assert!(matches!(settled, Settled::Completed(_)), "{settled:?}");
    assert_eq!(alive_with(&marker), Vec::<i32>::new());
}

#[tokio::test]
async fn too_long_is_timed_out_and_the_slot_is_free_again() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |config| {
        config.stop_grace_ms = 100;
        config.slots = 1;
    });
    let mut task = script("command-1-long", "trap '' TERM; while :; do sleep 1; done");
    task.max_running_time = Some(duration(300));
    broker.add(task);
    broker.add(script("command-1-next", "exit 0"));
    let (reason, permanent, ..) = failure(broker.settled("command-1-long").await);
    assert_eq!((reason, permanent), (FailureReason::TimedOut, false));
    assert!(matches!(broker.settled("command-1-next").await, Settled::Completed(_)));
}

#[tokio::test]
async fn a_lost_lease_kills_and_says_nothing() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let marker = unique();
    let mut task = script("command-1-lost", "echo ready; sleep 1000");
    task.command.as_mut().unwrap().environment = [("MARKER".to_owned(), marker.clone())].into();
    broker.add(task);
    broker
        .until("ready", |state| state.logs.get(&("command-1-lost".to_owned(), 1)).map(drop))
        .await;
    broker.change(|state| state.leases.insert("command-1-lost".to_owned(), 2));
    while !alive_with(&marker).is_empty() {
        tokio::task::yield_now().await;
    }
    broker.add(script("command-1-after", "exit 0"));
    broker.settled("command-1-after").await;
    assert!(!broker.state().settled.contains_key("command-1-lost"));
}

#[tokio::test]
async fn a_drain_waits_then_asks_then_gives_back() {
    let broker = FakeBroker::start().await;
    let mut worker = Worker::start(&broker, |config| config.drain_time_ms = 300);
    let polite = "echo ready; until test -e $ASYNCFLOW_STOP; do sleep 0.01; done; exit 85";
    broker.add(script("command-1-polite", &format!("trap '' TERM; {polite}")));
    broker.add(script("command-1-quick", "echo ready; sleep 0.2; exit 0"));
    for id in ["command-1-polite", "command-1-quick"] {
        broker.until("ready", |state| state.logs.get(&(id.to_owned(), 1)).map(drop)).await;
    }
    worker.drain.cancel();
    worker.end().await;
    assert!(matches!(broker.settled("command-1-quick").await, Settled::Completed(_)));
    let Settled::Released(call) = broker.settled("command-1-polite").await else { panic!() };
    // It was told to stop, saved, and said so by its exit code 85.
    assert_eq!(call.failure.unwrap().reason(), FailureReason::Checkpointed);
    assert!(broker.state().deregistered);
}

//! What the shim of an attempt guarantees: logs within their limit, whole trees, stops, figures.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use std::{collections::BTreeSet, path::Path, time::Duration};

use asyncflow_sdk::v1::{AttemptUsage, FailureReason, Task};
use fake::{FakeBroker, Settled, command_task};
use support::{
    Worker, failure,
    program::{exit_record, shim_record},
    small_disk::SmallDisk,
    tell_skipped, unique,
};

fn script(id: &str, text: &str) -> Task {
    command_task(id, "bash", &["-c", text])
}

fn usage(settled: Settled) -> AttemptUsage {
    let usage = match settled {
        Settled::Completed(call) => call.usage,
        Settled::Failed(call) => call.usage,
        Settled::Released(call) => call.usage,
    };
    usage.expect("no usage was told")
}

async fn began(broker: &FakeBroker, task_id: &str) {
    let key = (task_id.to_owned(), 1);
    broker.until("output", |state| state.logs.get(&key).map(drop)).await;
}

/// Most resident memory that a process had so far, in KiB.
fn most_resident_kib(pid: i64) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn kept_bytes(dir: &Path, name: &str) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().flatten();
    let own = files.filter(|file| file.file_name().to_str().unwrap().starts_with(name));
    own.map(|file| file.metadata().unwrap().len()).sum()
}

/// 300 MB at a limit of 10 MB, in the place of 10 GB at one of a GiB.
#[tokio::test]
async fn a_flood_of_log_stays_within_its_limit_and_memory_flat() {
    const WRITTEN: u64 = 300_000_000;
    const LIMIT: u64 = 10 * 1024 * 1024;
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |config| config.command.log_bytes_max = LIMIT);
    let text = "echo first; yes 0123456789abcdef | head -c 299999989; echo last";
    broker.add(script("command-1-flood", text));
    began(&broker, "command-1-flood").await;
    let data = worker.dir.path().join("data");
    let shim = shim_record(&data, "command-1-flood.1")["shim"]["pid"].as_i64().unwrap();
    let mut most = 0;
    while let Some(resident) = most_resident_kib(shim) {
        most = resident;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let used = usage(broker.settled("command-1-flood").await);
    let dir = worker.attempt_dir("command-1-flood.1");
    let kept = kept_bytes(&dir, "stdout.log");
    let record = exit_record(&data, "command-1-flood.1").await;
    println!(
        "{WRITTEN} bytes written in {} ms: {kept} kept, {} dropped, shim at most {most} KiB",
        record["ran_ms"], used.log_dropped_bytes
    );
    assert_eq!(kept + used.log_dropped_bytes as u64, WRITTEN);
    assert!(kept <= LIMIT && kept > LIMIT * 3 / 4, "{kept}");
    assert!(most > 0 && most < 32 * 1024, "{most} KiB");
    let head = std::fs::read(dir.join("stdout.log")).unwrap();
    assert!(head.starts_with(b"first\n0123") && head.len() == 1024 * 1024);
    // The broker has the beginning or not, as fast as it was; the end it has for sure.
    assert!(broker.log("command-1-flood", 1).ends_with("last\n"));
}

/// A disk of 4 MiB, which holds everything that the worker writes.
#[tokio::test]
async fn a_full_disk_costs_the_task_its_log_and_nothing_else() {
    let broker = FakeBroker::start().await;
    let Some(disk) = SmallDisk::mount() else { return };
    let mut worker = Worker::start(&broker, |config| {
        config.data_dir = disk.path().join("data");
        config.command.log_bytes_max = 64 * 1024 * 1024;
    });
    broker.add(script("command-1-full", "yes 0123456789abcde | head -c 20000000; exit 7"));
    let settled = broker.settled("command-1-full").await;
    let Settled::Failed(call) = &settled else { panic!("{settled:?}") };
    assert_eq!(call.exit_code, Some(7));
    let dropped = usage(settled).log_dropped_bytes;
    let kept = kept_bytes(&disk.path().join("data/attempts/command-1-full.1"), "stdout.log");
    println!("20000000 bytes written on a disk of 4 MiB: {kept} kept, {dropped} dropped");
    assert_eq!(kept as i64 + dropped, 20_000_000);
    assert!(dropped > 15_000_000, "{dropped}");
    worker.drain.cancel();
    worker.end().await;
}

/// A disk that refuses the order is one that may take it a second later.
#[tokio::test]
async fn a_stop_that_cannot_be_written_is_tried_again() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    broker.add(script(
        "command-1-told",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done",
    ));
    began(&broker, "command-1-told").await;
    let in_the_way = worker.attempt_dir("command-1-told.1").join("order.json.draft");
    std::fs::create_dir(&in_the_way).unwrap();
    broker.cancel("command-1-told");
    let log = ("command-1-told".to_owned(), 3);
    broker.until("the stop", |state| state.logs.get(&log).map(drop)).await;
    assert!(!broker.state().settled.contains_key("command-1-told"));
    std::fs::remove_dir(&in_the_way).unwrap();
    let (reason, _, exit_code, _) = failure(broker.settled("command-1-told").await);
    assert_eq!((reason, exit_code), (FailureReason::Cancelled, Some(3)));
    assert_eq!(broker.log("command-1-told", 3).matches("told to stop").count(), 1);
}

fn files_of(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn what_is_secret_does_not_lie_on_the_disk() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let secret = unique();
    let mut task = script("command-1-secret", "echo ready; until [ -e go ]; do sleep 0.02; done");
    task.command.as_mut().unwrap().environment = [("SECRET".to_owned(), secret.clone())].into();
    broker.add(task);
    began(&broker, "command-1-secret").await;
    let dir = worker.attempt_dir("command-1-secret.1");
    let token = std::fs::read_to_string(dir.join("token")).unwrap();
    let with = |word: &str| -> Vec<_> {
        let has = |path: &std::path::PathBuf| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(word.len()).any(|part| part == word.as_bytes())
        };
        files_of(worker.dir.path()).into_iter().filter(has).collect()
    };
    assert_eq!(with(&secret), Vec::<std::path::PathBuf>::new());
    assert_eq!(with(&token).len(), 1, "the next worker needs it");
    std::fs::write(dir.join("work/go"), "").unwrap();
    assert!(matches!(broker.settled("command-1-secret").await, Settled::Completed(_)));
    while dir.join("token").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(with(&token), Vec::<std::path::PathBuf>::new());
}

/// The living processes with this word in their command line.
fn alive_called(word: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some(format!("{:?} {}", entry.file_name(), String::from_utf8_lossy(&line)))
    });
    lines.filter(|line| line.contains(word)).collect()
}

/// Children that left session and group, were orphaned twice, and carry nothing of the attempt.
async fn a_tree_without_a_sign(cgroups: bool) {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |config| {
        config.stop_grace_ms = 200;
        config.command.cgroups = cgroups;
    });
    let word = unique();
    let stubborn = format!("trap \"\" TERM; : {word}; while :; do sleep 1; done");
    let text = format!(
        "env -i setsid bash -c '(env -i setsid bash -c '\\''{stubborn}'\\'' &) & {stubborn}' & \
         (setsid bash -c '{stubborn}' &); \
         until [ $(pgrep -fc 'trap.*{word}') -ge 4 ]; do sleep 0.05; done; \
         echo ready; trap '' TERM; while :; do sleep 1; done",
    );
    broker.add(script("command-1-tree", &text));
    began(&broker, "command-1-tree").await;
    let data = worker.dir.path().join("data");
    let leaf = shim_record(&data, "command-1-tree.1")["leaf"].as_str().map(str::to_owned);
    match &leaf {
        Some(leaf) => {
            let inside = std::fs::read_to_string(Path::new(leaf).join("cgroup.procs")).unwrap();
            assert!(inside.lines().count() >= 4, "{inside}");
        }
        None if cgroups => tell_skipped("no control groups of version 2 can be made here"),
        None => {}
    }
    assert!(alive_called(&word).len() >= 4);
    broker.cancel("command-1-tree");
    let (reason, ..) = failure(broker.settled("command-1-tree").await);
    assert_eq!(reason, FailureReason::Cancelled);
    assert_eq!(alive_called(&word), Vec::<String>::new());
    assert!(leaf.is_none_or(|leaf| !Path::new(&leaf).exists()), "the control group is left");
}

#[tokio::test]
async fn no_survivor_of_a_cancel_with_control_groups() {
    a_tree_without_a_sign(true).await;
}

#[tokio::test]
async fn no_survivor_of_a_cancel_without_control_groups() {
    a_tree_without_a_sign(false).await;
}

/// By the signal that the settings name; what it saves then is there, and no failure is counted.
#[tokio::test]
async fn who_traps_the_signal_saves_and_goes_on_from_there() {
    let broker = FakeBroker::start().await;
    let mut worker = Worker::start(&broker, |config| {
        config.drain_time_ms = 0;
        config.command.stop_signal = "SIGUSR2".to_owned();
    });
    let save = r#"echo "{\"event\":\"context\",\"data\":{\"epoch\":5}}" >> "$ASYNCFLOW_EVENTS""#;
    let text = format!(
        "trap '{save}; cat \"$ASYNCFLOW_STOP\"; exit 85' USR2; echo ready; \
         while :; do sleep 0.02; done"
    );
    broker.add(script("command-1-trap", &text));
    broker.add(script("command-1-cancel", &text));
    began(&broker, "command-1-trap").await;
    began(&broker, "command-1-cancel").await;
    broker.cancel("command-1-cancel");
    let (reason, _, exit_code, _) = failure(broker.settled("command-1-cancel").await);
    assert_eq!((reason, exit_code), (FailureReason::Cancelled, Some(85)), "a cancel stays one");
    worker.drain.cancel();
    worker.end().await;
    let Settled::Released(call) = broker.settled("command-1-trap").await else { panic!() };
    let failure = call.failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::Checkpointed);
    let why = "the worker shuts down; stopped at a checkpoint; it goes on from its context";
    assert_eq!((&*failure.message, call.exit_code), (why, Some(85)));
    assert!(broker.log("command-1-trap", 1).contains("the worker shuts down"));
    let saved = broker.state().contexts.iter().any(|save| {
        let of_it = save.lease.as_ref().unwrap().task_id == "command-1-trap";
        of_it && save.context.as_ref().unwrap().data[..] == br#"{"epoch":5}"#[..]
    });
    assert!(saved);
}

#[tokio::test]
async fn no_memory_on_a_gpu_is_told_apart() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let says = "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB' >&2";
    broker.add(script("command-1-gpu", &format!("{says}; seq 5000 >&2; exit 1")));
    broker.add(script("command-1-early", &format!("{says}; seq 20000 >&2; exit 1")));
    broker.add(script("command-1-well", &format!("{says}; exit 0")));
    let (reason, _, exit_code, message) = failure(broker.settled("command-1-gpu").await);
    assert_eq!((reason, exit_code), (FailureReason::GpuOutOfMemory, Some(1)));
    assert!(message.contains("GPU"), "{message}");
    // Long before its end it said so, and lived on.
    assert_eq!(failure(broker.settled("command-1-early").await).0, FailureReason::Error);
    assert!(matches!(broker.settled("command-1-well").await, Settled::Completed(_)));
}

#[tokio::test]
async fn what_an_attempt_used_is_told_with_its_end() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    // Half a second of work, and 64 MB held for longer than a look takes to come.
    let text = "head -c 64M /dev/zero | tail -c 64M | (sleep 1; cat >/dev/null); \
                for ((i = 0; i < 200000; i++)); do :; done";
    broker.add(script("command-1-used", text));
    let used = usage(broker.settled("command-1-used").await);
    println!("{used:?}");
    assert!(used.cpu_seconds > 0.05 && used.cpu_seconds < 60.0, "{used:?}");
    assert!(used.memory_peak_bytes > 60_000_000, "{used:?}");
    assert!(used.memory_peak_bytes < 1_000_000_000, "{used:?}");
    assert_eq!(used.log_dropped_bytes, 0);
}

#[tokio::test]
async fn eight_processes_that_append_events_lose_none() {
    let broker = FakeBroker::start().await;
    let _worker = Worker::start(&broker, |_| {});
    let text = r#"for p in 1 2 3 4 5 6 7 8; do
            (for ((i = 0; i < 1000; i++)); do
                echo "{\"event\":\"stage\",\"stage\":\"$p-$i\"}" >> "$ASYNCFLOW_EVENTS"
            done) &
        done; wait"#;
    broker.add(script("command-1-events", text));
    assert!(matches!(broker.settled("command-1-events").await, Settled::Completed(_)));
    let stages: Vec<String> =
        broker.change(|state| state.contexts.iter().map(|c| c.stage.clone().unwrap()).collect());
    assert_eq!(stages.len(), 8_000);
    assert_eq!(stages.iter().collect::<BTreeSet<_>>().len(), 8_000);
    // Those of one process came in its order.
    for process in 1..=8 {
        let own: Vec<_> = stages.iter().filter(|s| s.starts_with(&format!("{process}-"))).collect();
        let expected: Vec<String> = (0..1_000).map(|i| format!("{process}-{i}")).collect();
        assert!(own.into_iter().eq(expected.iter()));
    }
    assert_eq!(broker.log("command-1-events", 3), "", "no line was torn");
}

/// The broker hands out the second attempt with what the first one saved.
#[tokio::test]
async fn three_stages_killed_in_the_second_go_on_in_the_second() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let ran = worker.dir.path().join("ran");
    let text = format!(
        r#"stage() {{ echo "$1 $ASYNCFLOW_ATTEMPT" >> {}; }}
        done_with() {{ echo "{{\"event\":\"stage\",\"stage\":\"$1\"}}" >> "$ASYNCFLOW_EVENTS"; }}
        case "$ASYNCFLOW_STAGE" in
            "") stage one; done_with one ;&
            one) stage two; [ "$ASYNCFLOW_ATTEMPT" = 1 ] && kill -9 $$; done_with two ;&
            two) stage three ;;
        esac"#,
        ran.display()
    );
    broker.add(script("command-1-stages", &text));
    let (reason, _, exit_code, _) = failure(broker.settled("command-1-stages").await);
    assert_eq!((reason, exit_code), (FailureReason::Killed, Some(-9)));
    let mut second = script("command-1-again", &text);
    second.stage = broker.change(|state| state.contexts.last().unwrap().stage.clone().unwrap());
    let environment = [("ATTEMPT".to_owned(), "2".to_owned())].into();
    let command = second.command.as_mut().unwrap();
    command.environment = environment;
    command.args[1] = command.args[1].replace("$ASYNCFLOW_ATTEMPT", "$ATTEMPT");
    broker.add(second);
    assert!(matches!(broker.settled("command-1-again").await, Settled::Completed(_)));
    let ran = std::fs::read_to_string(ran).unwrap();
    assert_eq!(ran, "one 1\ntwo 1\ntwo 2\nthree 2\n");
}

/// It goes to another host, and loses no attempt.
async fn not_started(broker: &FakeBroker, id: &str, why: &str) {
    let settled = broker.settled(id).await;
    let Settled::Released(call) = settled else { panic!("{settled:?}") };
    let failure = call.failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::NotStarted);
    assert!(failure.message.contains(why), "{}", failure.message);
    assert!(call.elsewhere && call.delay.is_some());
}

#[tokio::test]
async fn a_host_whose_disk_takes_nothing_takes_no_tasks() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |_| {});
    let attempts = worker.dir.path().join("data/attempts");
    let away = worker.dir.path().join("away");
    broker.add(script("command-1-before", "exit 0"));
    broker.settled("command-1-before").await;
    std::fs::rename(&attempts, &away).unwrap();
    broker.add(script("command-1-a", "exit 0"));
    not_started(&broker, "command-1-a", "its directory cannot be made").await;
    let alarm = |state: &fake::State| state.reports.last()?.alarms.first().cloned();
    let alarm = broker.until("an alarm", alarm).await;
    assert!(alarm.starts_with("tasks cannot be started: its directory"), "{alarm}");
    let why = broker.state().reports.last().unwrap().takes_nothing.clone();
    assert_eq!(alarm, format!("tasks cannot be started: {why}"));
    // This one goes to the poll that was open then, the other one waits.
    broker.add(script("command-1-b", "exit 0"));
    not_started(&broker, "command-1-b", "its directory cannot be made").await;
    broker.add(script("command-1-c", "exit 0"));
    tokio::time::sleep(Duration::from_millis(4_000)).await;
    assert!(!broker.state().settled.contains_key("command-1-c"));
    std::fs::rename(&away, &attempts).unwrap();
    assert!(matches!(broker.settled("command-1-c").await, Settled::Completed(_)));
    let is_over = |state: &fake::State| state.reports.last()?.alarms.is_empty().then_some(());
    broker.until("the end of the alarm", is_over).await;
    assert_eq!(broker.state().reports.last().unwrap().takes_nothing, "");
}

/// Its time was over before: it is not run again for nothing.
#[tokio::test]
async fn a_drain_in_the_grace_of_a_time_limit_does_not_hide_it() {
    let broker = FakeBroker::start().await;
    let mut worker = Worker::start(&broker, |config| {
        config.stop_grace_ms = 2_000;
        config.drain_time_ms = 0;
    });
    let mut task =
        script("command-1-late", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    task.max_running_time = Some(asyncflow_proto::time::duration(500));
    broker.add(task);
    began(&broker, "command-1-late").await;
    let stop = worker.attempt_dir("command-1-late.1").join("stop");
    while !stop.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.drain.cancel();
    let (reason, ..) = failure(broker.settled("command-1-late").await);
    assert_eq!(reason, FailureReason::TimedOut);
    worker.end().await;
}

/// Whatever it is that was started in its place, it does not stay.
#[tokio::test]
async fn a_shim_that_does_not_come_up_fails_the_attempt_and_is_ended() {
    let broker = FakeBroker::start().await;
    let worker = Worker::start(&broker, |config| config.command.shim = "/usr/bin/yes".into());
    broker.add(script("command-1-none", "exit 0"));
    not_started(&broker, "command-1-none", "its shim cannot be started").await;
    let dir = worker.attempt_dir("command-1-none.1");
    assert_eq!(alive_called(dir.to_str().unwrap()), Vec::<String>::new());
}

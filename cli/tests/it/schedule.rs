//! `asyncflow schedule …`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;
use std::fs;

const FILE: &str = r#"
name: nightly
labels: {team: vision}
cron: "30 3 * * MON-FRI"
time_zone: Europe/Berlin
jitter: 5m
overlap: queue_one
catch_up: 2h
workflow:
  name: digits
  nodes:
    - name: train
      task: {type: idle, payload: {lr: 0.1}}
"#;

#[test]
fn a_schedule_is_created_from_flags_shown_run_and_deleted() {
    let dev = Dev::start();
    let create = [
        "schedule",
        "create",
        "--cron",
        "0 3 * * *",
        "--time-zone",
        "Europe/Berlin",
        "--name",
        "clean",
        "--request-id",
        "r",
        "-o",
        "id",
        "--",
        "sh",
        "-c",
        "exit 0",
    ];
    let id = dev.call(&create).expect_code(0).stdout.trim().to_owned();
    assert!(id.starts_with("sc-"), "{id}");
    let again = dev.call(&create).expect_code(0);
    assert_eq!(again.stdout.trim(), id);
    assert!(again.stderr.contains("already"), "{again:?}");

    let list = dev.call(&["schedule", "list"]).expect_code(0).stdout;
    assert!(list.contains("0 3 * * * Europe/Berlin  task command: sh -c 'exit 0'"), "{list}");
    let ran = dev.call(&["schedule", "run", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!((&ran["outcome"], &ran["cause"]), (&"FIRED".into(), &"HAND".into()));
    let task = ran["task_id"].as_str().unwrap();
    assert_eq!(
        dev.call(&["task", "wait", task, "-o", "json"]).expect_code(0).json()["name"],
        "clean"
    );
    let shown = dev.call(&["schedule", "show", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(shown["schedule"]["fired_count"], 1);
    assert_eq!(shown["fires"][0]["task_id"], task);
    assert!(dev.call(&["schedule", "show", &id]).expect_code(0).stdout.contains("HAND"));

    let paused = dev.call(&["schedule", "pause", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!((&paused["state"], &paused["next_fire_time"]), (&"PAUSED".into(), &().into()));
    let resumed = dev.call(&["schedule", "resume", &id, "-o", "json"]).expect_code(0).json();
    assert_eq!(resumed["state"], "ACTIVE");
    let next = ["schedule", "next", &id, "-n", "2", "--after", "2028-02-28T12:00:00Z", "-o", "id"];
    let next = dev.call(&next).expect_code(0).stdout;
    assert_eq!(next, "2028-02-29T02:00:00Z\n2028-03-01T02:00:00Z\n");
    let next = ["schedule", "next", &id, "-n", "1", "--after", "2028-02-28T12:00:00Z"];
    let next = dev.call(&next).expect_code(0).stdout;
    assert!(next.contains("2028-02-29T02:00:00Z  2028-02-29T03:00:00+01:00"), "{next}");
    let (start, end) = ("2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z");
    let fill = ["schedule", "backfill", &id, "--start", start, "--end", end, "-o", "id"];
    assert_eq!(dev.call(&fill).expect_code(0).stdout.lines().count(), 2);
    let again = dev.call(&fill).expect_code(0);
    assert!(again.stdout.is_empty() && again.stderr.contains("2 fire times"), "{again:?}");
    assert!(again.stderr.contains("0 fire times to make up for"), "{again:?}");
    let every = ["schedule", "create", "--every", "1h", "-o", "id", "--", "true"];
    let other = dev.call(&every).expect_code(0).stdout.trim().to_owned();
    let unknown = "sc-0000000000001";
    let deleted = dev.call(&["schedule", "delete", &id, unknown, &other]).expect_code(3);
    assert!(deleted.stderr.contains(unknown), "{deleted:?}");
    for id in [&id, &other] {
        dev.call(&["schedule", "show", id]).expect_code(3);
    }
}

#[test]
fn a_file_says_it_all() {
    let dev = Dev::start();
    let file = dev.dir().join("nightly.yaml");
    let create = |text: &str, more: &[&str], code| {
        fs::write(&file, text).unwrap();
        let args = ["schedule", "create", "-f", file.to_str().unwrap()];
        let args: Vec<&str> = args.iter().chain(more).copied().collect();
        dev.call(&args).expect_code(code)
    };
    assert_eq!(create(FILE, &["--validate-only"], 0).stdout, "");
    let made = create(FILE, &["-o", "json"], 0).json();
    assert_eq!(made["makes"], "workflow digits");
    assert_eq!(
        (&made["overlap"], &made["labels"]["team"]),
        (&"QUEUE_ONE".into(), &"vision".into())
    );
    assert_eq!((&made["jitter"], &made["catch_up"]), (&"300s".into(), &"7200s".into()));
    let ran = ["schedule", "run", made["id"].as_str().unwrap(), "-o", "id"];
    assert!(dev.call(&ran).expect_code(0).stdout.starts_with("wf-"));

    let unknown = create("colour: red", &[], 2).stderr;
    assert!(unknown.contains("nightly.yaml:1:1: colour: unknown field"), "{unknown}");
    assert!(unknown.contains("should be a schedule: docs/guide/schedules.md"), "{unknown}");
    let soon = create("every: soon\ntask: {type: x}", &[], 2).stderr;
    assert!(soon.contains("nightly.yaml:1:8: every: \"soon\""), "{soon}");
    let short = create("task: {type: x}\nevery: 100ms", &[], 1).stderr;
    assert!(short.contains("nightly.yaml:2:8: every: 100 ms is out of range"), "{short}");
    let two = create("{cron: '* * * * *', every: 5m, task: {type: x}}", &[], 2).stderr;
    assert!(two.contains("one of cron, every and at"), "{two}");
    for of_cron in ["time_zone: Europe/Berlin", "with_seconds: true"] {
        let alone = create(&format!("{{every: 5m, {of_cron}, task: {{type: x}}}}"), &[], 2).stderr;
        assert!(alone.contains("time_zone and with_seconds are of cron"), "{alone}");
    }
    let bad = create("{cron: '0 0 30 2 *', task: {type: x}}", &[], 1).stderr;
    assert!(bad.contains("matches no day"), "{bad}");
}

#[test]
fn what_fires_by_its_times_is_done() {
    let dev = Dev::start();
    let create = ["schedule", "create", "--every", "1s", "--overlap", "allow", "-o", "id"];
    let create: Vec<&str> = create.into_iter().chain(["--", "true"]).collect();
    let id = dev.call(&create).expect_code(0).stdout.trim().to_owned();
    let fired = || {
        let shown = dev.call(&["schedule", "show", &id, "-o", "json"]).expect_code(0).json();
        shown["schedule"]["last_task_id"].as_str().unwrap().to_owned()
    };
    let task = (0..2_000).map(|_| fired()).find(|task| !task.is_empty()).expect("it fires");
    dev.call(&["task", "wait", &task]).expect_code(0);
    dev.call(&["schedule", "delete", &id]).expect_code(0);
}

#[test]
fn a_workflow_is_scheduled_from_its_own_file() {
    let dev = Dev::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flow.yaml");
    let flow = r#"
name: daily
input: 1
nodes:
  - name: echo
    task: {command: [sh]}
    input: "{'args': ['-c', 'exit ' + string(input)]}"
"#;
    fs::write(&file, flow).unwrap();
    let file = file.to_str().unwrap();
    let create = ["schedule", "create", "--workflow", file, "--cron", "0 3 * * *", "--input", "0"];
    let id = dev.call(&[&create[..], &["-o", "id"]].concat()).expect_code(0).stdout;
    let id = id.trim();
    let ran = dev.call(&["schedule", "run", id, "-o", "json"]).expect_code(0).json();
    let workflow = ran["workflow_id"].as_str().unwrap();
    dev.call(&["workflow", "wait", workflow]).expect_code(0);
    let shown = dev.call(&["schedule", "show", id, "-o", "json"]).expect_code(0).json();
    assert_eq!(shown["schedule"]["name"], "daily");
    dev.call(&[&create[..], &["--", "true"]].concat()).expect_code(2);
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_the_flags() {
    let dev = Dev::start();
    let create = |times: &[&str], code| {
        let args = [&["schedule", "create"], times, &["--", "true"]].concat();
        dev.call(&args).expect_code(code).stderr
    };
    for (times, told) in [
        (&["--every", "100ms"][..], "--every: 100 ms is out of range"),
        (&["--cron", "0 3 * * *", "--time-zone", "Nowhere/Town"], "--time-zone: "),
        (&["--every", "1m", "--jitter", "8760h"], "--jitter: "),
        (&["--every", "1m", "--max-retries", "5000"], "--max-retries: "),
    ] {
        let stderr = create(times, 1);
        assert!(stderr.contains(told) && !stderr.contains("schedule."), "{stderr}");
    }
    assert!(create(&[], 2).contains("--cron, --every or --at"));
    for flag in ["--delay", "--not-before", "--after", "--after-any"] {
        assert!(create(&["--every", "1m", flag, "1s"], 2).contains("unexpected argument"));
    }
}

#[test]
fn a_schedule_is_changed_by_flags_and_by_a_file() {
    let dev = Dev::start();
    let cron = ["schedule", "create", "--cron", "0 3 * * *", "--time-zone", "Europe/Berlin"];
    let id = dev.call(&[&cron[..], &["-o", "id", "--", "true"]].concat()).expect_code(0).stdout;
    let update = |more: &[&str], code| {
        dev.call(&[&["schedule", "update", id.trim(), "-o", "json"], more].concat())
            .expect_code(code)
    };
    let changed = update(&["--cron", "0 4 * * *", "--name", "later", "--label", "a=b"], 0).json();
    assert_eq!((&changed["cron"], &changed["name"]), (&"0 4 * * *".into(), &"later".into()));
    assert_eq!(changed["time_zone"], "Europe/Berlin", "another time is no other place");
    assert_eq!(
        (&changed["makes"], &changed["labels"]["a"]),
        (&"task command: true".into(), &"b".into())
    );
    assert!(update(&[], 2).stderr.contains("nothing to change"));
    assert!(update(&["--every", "100ms"], 1).stderr.contains("--every: 100 ms"));

    let file = dev.dir().join("nightly.yaml");
    fs::write(&file, FILE).unwrap();
    let changed = update(&["-f", file.to_str().unwrap()], 0).json();
    assert_eq!(
        (&changed["makes"], &changed["name"]),
        (&"workflow digits".into(), &"nightly".into())
    );
}

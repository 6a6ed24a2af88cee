//! Hosts and GPUs as people meet them: `gpu`, `worker`, `explain`, `hold`, `top`, `usage`, over a
//! file of GPUs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{dev_process::Dev, program::Done};
use serde_json::{Value, json};
use std::{process::Stdio, time::Duration};

/// An `asyncflow dev` with two GPUs; a process of bob's is on the second one.
fn dev() -> Dev {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gpus.json");
    let bobs = json!([{
        "pid": 4_000_242, "user": "bob", "command": "python train.py", "memory_bytes": 20_u64 << 30
    }]);
    let device = |uuid: &str, processes: Value| {
        json!({
            "uuid": uuid, "model": "Fake A30", "memory_bytes": 24_u64 << 30, "processes": processes
        })
    };
    let devices = [device("GPU-aaa", json!([])), device("GPU-bbb", bobs)];
    std::fs::write(&file, json!({ "devices": devices }).to_string()).unwrap();
    let file = format!("worker.gpu.fake_file={}", file.display());
    let words = [
        "worker.host=anna",
        "worker.gpu.provider=fake",
        &file,
        "worker.gpu.sample_interval_ms=200",
    ];
    let words: Vec<&str> = words.into_iter().flat_map(|word| ["--set", word]).collect();
    Dev::start_with(dir, &words)
}

/// The GPUs, as soon as they are as expected: workers tell of them every few seconds.
#[track_caller]
fn until_gpus(dev: &Dev, what: &str, are: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut last = Value::Null;
    for _ in 0..300 {
        last = dev.call(&["gpu", "list", "-o", "json"]).expect_code(0).json();
        let gpus = last.as_array().unwrap();
        if are(gpus) {
            return gpus.clone();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: it is {last:#}");
}

fn is(gpu: &Value, state: &str) -> bool {
    gpu["state"] == state
}

#[test]
fn gpus_are_listed_and_told_what_to_do() {
    let dev = dev();
    let told = |gpus: &[Value]| gpus.len() == 2 && is(&gpus[0], "READY") && is(&gpus[1], "FOREIGN");
    let gpus = until_gpus(&dev, "both are told of", told);
    assert_eq!([&gpus[0]["name"], &gpus[1]["name"]], ["anna:0", "anna:1"]);
    let process = &gpus[1]["processes"][0];
    assert_eq!((&process["pid"], &process["user"]), (&json!(4_000_242), &json!("bob")));
    let table = dev.call(&["gpu", "list"]).expect_code(0).stdout;
    let row = table.lines().find(|line| line.starts_with("anna:1")).unwrap();
    assert!(row.contains("pid 4000242 of bob: python train.py, 20.0 GiB"), "{row}");
    let top = dev.call(&["top"]).expect_code(0).stdout;
    assert!(top.contains("anna:0") && top.contains("FOREIGN"), "without a terminal: {top}");

    // By the beginning of its UUID; an order shows at once, the state as soon as the worker heard.
    let changed = dev.call(&["gpu", "cordon", "GPU-a", "-o", "json"]).expect_code(0).json();
    assert_eq!(changed[0]["cordoned"], true);
    until_gpus(&dev, "the first is cordoned", |gpus| is(&gpus[0], "CORDONED"));
    dev.call(&["gpu", "uncordon", "anna:0"]).expect_code(0);
    until_gpus(&dev, "the first is ready again", |gpus| is(&gpus[0], "READY"));

    dev.call(&["gpu", "ignore", "anna:1", "4000242"]).expect_code(0);
    let ignored = until_gpus(&dev, "bob is ignored", |gpus| is(&gpus[1], "READY"));
    assert_eq!(ignored[1]["processes"][0]["treatment"], "IGNORED");
    dev.call(&["gpu", "ignore", "--undo", "anna:1", "4000242"]).expect_code(0);
    until_gpus(&dev, "bob is a stranger again", |gpus| is(&gpus[1], "FOREIGN"));

    for (args, part) in [
        (&["gpu", "cordon", "anna:7"][..], "no GPU 7"),
        (&["gpu", "evict", "berta:0"], "berta"),
        (&["gpu", "ignore", "anna:0", "17"], "no stranger's process 17"),
    ] {
        let done: Done = dev.call(args).expect_code(3);
        assert!(done.stderr.contains(part), "{args:?}: {}", done.stderr);
    }
    let several = dev.call(&["gpu", "cordon", "GPU-"]).expect_code(2).stderr;
    assert!(several.contains("anna:0, anna:1"), "{several}");
}

#[test]
fn a_hold_prints_what_uses_the_gpu_and_is_a_task_as_any_other() {
    let dev = dev();
    let held = dev.call(&["hold", "--gpus", "1", "--for", "1h"]).expect_code(0);
    let exports = ["export CUDA_DEVICE_ORDER=PCI_BUS_ID", "export CUDA_VISIBLE_DEVICES=0"];
    assert_eq!(held.lines(), exports, "{}", held.stderr);
    assert!(held.stderr.contains("GPU 0 (Fake A30) of anna, yours until"), "{}", held.stderr);

    let gpus = until_gpus(&dev, "the hold is on it", |gpus| gpus[0]["tasks"] != json!([]));
    let first = gpus[0]["tasks"][0]["task_id"].as_str().unwrap();
    assert!(first.starts_with("hold-"), "{first}");

    // The other GPU is bob's: a second one has to wait, and is not told to be running.
    let start = |format: &str| {
        let mut hold = dev.command(&["hold", "--for", "1h", "-o", format]);
        hold.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let second = start("json");
    let waiting = until_waiting(&dev, first);
    let why = dev.call(&["explain", &waiting, "-o", "json"]).expect_code(0).json();
    assert_eq!((&why["task"]["id"], &why["task"]["state"]), (&json!(waiting), &json!("PENDING")));
    assert_ne!(why["summary"], "");

    dev.call(&["task", "cancel", first]).expect_code(0);
    let second: Done = second.wait_with_output().unwrap().into();
    let second = second.expect_code(0).json();
    assert_eq!(second["task_id"], waiting.as_str());
    assert_eq!(second["environment"]["CUDA_VISIBLE_DEVICES"], "0");
    assert_eq!(second["gpus"], json!(["GPU-aaa"]));

    // For a script that only wants to give it back.
    dev.call(&["task", "cancel", &waiting]).expect_code(0);
    let third: Done = start("id").wait_with_output().unwrap().into();
    let third = third.expect_code(0);
    assert!(matches!(&third.lines()[..], [id] if id.starts_with("hold-")), "{}", third.stdout);
    let usage = dev.call(&["usage", "-o", "json"]).expect_code(0).json();
    assert!(usage[0]["gpu_seconds"].as_f64().is_some_and(|spent| spent > 0.0), "{usage}");
}

/// The task of type `hold` that is not this one, as soon as it is there.
fn until_waiting(dev: &Dev, first: &str) -> String {
    for _ in 0..100 {
        let list = dev.call(&["task", "list", "-t", "hold", "-o", "id"]).expect_code(0);
        if let Some(other) = list.lines().into_iter().find(|id| *id != first) {
            return other.to_owned();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("there is no second task")
}

#[test]
fn a_worker_is_shown_and_told_what_to_do() {
    let dev = dev();
    until_gpus(&dev, "both are told of", |gpus| gpus.len() == 2);
    let host = dev.call(&["worker", "show", "anna", "-o", "json"]).expect_code(0).json();
    assert_eq!((&host["host"], &host["gpu_provider"]), (&json!("anna"), &json!("fake")));
    assert_eq!(host["gpus"].as_array().unwrap().len(), 2);
    let cordoned = dev.call(&["worker", "cordon", "anna"]).expect_code(0).stdout;
    assert!(cordoned.contains("CORDONED"), "{cordoned}");
    let open = dev.call(&["worker", "uncordon", "anna", "-o", "json"]).expect_code(0).json();
    assert_eq!(open[0]["orders"]["cordoned"], false);
    dev.call(&["worker", "drain", "berta"]).expect_code(3);
}

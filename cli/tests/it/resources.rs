//! What tasks and types need, as it is said and shown.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::dev_process::Dev;

#[test]
fn what_a_task_needs_is_said_and_shown() {
    let dev = Dev::start();
    let create = ["task", "create", "-t", "train", "--gpus", "2", "--cpus", "1.5", "--memory"];
    let create = [&create[..], &["8GiB", "--worker-label", "room=3", "--preemptible"]].concat();
    let id = dev.call(&[&create[..], &["-o", "id"]].concat()).expect_code(0).stdout;
    let id = id.trim();
    let task = dev.call(&["task", "get", id, "-o", "json"]).expect_code(0).json();
    let resources = &task["resources"];
    assert_eq!((&resources["gpus"], &resources["cpus"]), (&2.into(), &1.5.into()));
    assert_eq!(resources["memory_bytes"], 8_u64 << 30);
    assert_eq!(resources["worker_labels"]["room"], "3");
    let shown = dev.call(&["task", "get", id]).expect_code(0).stdout;
    let needs = "2 GPUs, 1.5 cores, 8.0 GiB of memory, by workers with room=3, preemptible";
    assert!(shown.contains(needs), "{shown}");
    let wrong = dev.call(&["task", "create", "-t", "train", "--gpus", "-1"]).expect_code(2).stderr;
    assert!(wrong.contains("a whole number from 0 to 64 is wanted"), "{wrong}");
    let terms = ["--gpu-model", "A100", "--min-gpu-memory", "1G", "--gpu-idle-timeout", "1h"];
    let bare = [&["task", "create", "-t", "train"][..], &terms].concat();
    let wrong = dev.call(&bare).expect_code(1).stderr;
    for field in ["gpu_model", "gpu_memory_min_bytes", "gpu_idle_timeout"] {
        assert!(wrong.contains(&format!("task.resources.{field}")), "{wrong}");
    }
    dev.call(&[&bare[..], &["--gpus", "1"]].concat()).expect_code(0);
    dev.call(&["hold", "--for", "1h", "--gpu-memory", "0"]).expect_code(2);
    dev.call(&["task", "create", "-t", "x", "--gpus", "1", "--gpu-memory", "1G"]).expect_code(2);
}

#[test]
fn what_a_type_needs_is_set_as_a_whole() {
    let dev = Dev::start();
    dev.call(&["type", "create", "train", "--gpus", "1", "--gpu-model", "a100"]).expect_code(0);
    let needs = || {
        let kind = dev.call(&["type", "get", "train", "-o", "json"]).expect_code(0).json();
        kind["resources"].clone()
    };
    assert_eq!((&needs()["gpus"], &needs()["gpu_model"]), (&1.into(), &"a100".into()));
    dev.call(&["type", "set", "train", "--gpu-memory", "10GiB"]).expect_code(0);
    assert_eq!((&needs()["gpus"], &needs()["gpu_model"]), (&0.into(), &"".into()));
    let shown = dev.call(&["type", "get", "train"]).expect_code(0).stdout;
    assert!(shown.contains("10.0 GiB of a GPU"), "{shown}");
    dev.call(&["task", "create", "-t", "train", "--gpu-model", "h100"]).expect_code(0);
    dev.call(&["type", "set", "train", "--no-resources", "--gpus", "1"]).expect_code(2);
    for term in [["--gpu-model", "x"], ["--min-gpu-memory", "1G"], ["--gpu-idle-timeout", "1h"]] {
        let wrong = dev.call(&[&["type", "set", "train"][..], &term].concat()).expect_code(2);
        assert!(wrong.stderr.contains("--gpus"), "{}", wrong.stderr);
    }
    dev.call(&["type", "set", "train", "--no-resources"]).expect_code(0);
    assert!(needs().is_null());
}

//! When is reported what runs, and what it uses.

use asyncflow_sdk::v1::RunningTask;

use crate::{
    Gpus,
    fake::{FakeBroker, Settled, command_task},
    gpu_task, reported,
    support::Worker,
    until_file,
};

const HOUR_MS: i64 = 3_600_000;
const HELD_BYTES: i64 = 200 << 20;

/// No report comes here because time has passed.
#[tokio::test]
async fn what_runs_on_a_gpu_is_reported_when_it_changes() {
    let broker = FakeBroker::start().await;
    broker.change(|state| state.report_ms = Some(HOUR_MS));
    let mut gpus = Gpus::new(2);
    let go = gpus.dir.path().join("go");
    let settings = gpus.settings();
    let _worker = Worker::start(&broker, move |config| {
        settings(config);
        config.gpu.call_timeout_ms = 60_000;
    });
    reported(&broker, "the host", |_| Some(())).await;
    // It is looked at the GPUs before it begins, and that takes as long as the driver wants.
    gpus.change(|content| content["hang"] = true.into());
    broker.add(gpu_task("command-1-a", 1, &until_file(&go)));
    let ids = |report: &asyncflow_sdk::v1::HostReport| report.gpus[0].task_ids.clone();
    let leased = reported(&broker, "the lease", |report| {
        (ids(report) == ["command-1-a"]).then(|| report.clone())
    });
    assert!(leased.await.running.is_empty(), "it has not begun");
    gpus.change(|content| content["hang"] = false.into());
    let running = reported(&broker, "the task", |report| report.running.first().cloned()).await;
    assert_eq!((running.task_id.as_str(), running.gpus), ("command-1-a", vec!["GPU-0".into()]));
    std::fs::write(&go, "").unwrap();
    assert!(matches!(broker.settled("command-1-a").await, Settled::Completed(_)));
    reported(&broker, "its end", |report| {
        (report.running.is_empty() && ids(report).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn memory_and_cores_of_what_runs_are_measured() {
    let script = format!(
        "held=$(head -c {HELD_BYTES} /dev/zero | tr '\\0' x); while :; do :; done; echo $held"
    );
    for with_groups in [true, false] {
        let broker = FakeBroker::start().await;
        let gpus = Gpus::new(1);
        let settings = gpus.settings();
        let _worker = Worker::start(&broker, move |config| {
            settings(config);
            config.command.cgroups = with_groups;
        });
        broker.add(command_task("command-1-large", "sh", &["-c", &script]));
        let is_seen = |task: &&RunningTask| task.memory_bytes >= HELD_BYTES && task.cpus > 0.2;
        let task = reported(&broker, "what it uses", |report| {
            report.running.iter().find(is_seen).cloned()
        });
        let task = task.await;
        assert!(task.memory_bytes < 10 * HELD_BYTES && task.cpus < 8.0, "{task:?}");
        let usage = task.usage.unwrap();
        assert!(usage.memory_peak_bytes >= HELD_BYTES && usage.cpu_seconds > 0.0, "{usage:?}");
        broker.cancel("command-1-large");
        broker.settled("command-1-large").await;
    }
}

//! Programs that people start by hand are not trampled, and tasks keep to their GPUs.

use std::time::Duration;

use asyncflow_proto::time::timestamp;
use asyncflow_sdk::v1::{
    FailureReason, GpuProcessOrder, GpuProcessTreatment, GpuState, GpuUse, HostReport, Resources,
};

use crate::{
    GIB, Gpus,
    fake::{FakeBroker, Settled},
    gpu_task, in_state, last_offer, ready, released, reported,
    support::{Worker, failure},
    until_file, with,
};

#[tokio::test]
async fn where_a_stranger_holds_much_nothing_starts_and_the_others_are_used() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(4);
    gpus.bob(2, 20 * GIB);
    let _worker = Worker::start(&broker, gpus.settings());
    let gpu = in_state(&broker, "GPU-2", GpuState::Foreign).await;
    assert_eq!(gpu.reason, "used by pid 4242 of bob (20480 MiB, python notebook.py)");
    let process = &gpu.processes[0];
    assert_eq!((process.pid, process.user.as_str(), process.blocks), (4242, "bob", true));
    assert_eq!(process.memory_bytes, 20 * GIB);
    assert_eq!(process.since.as_ref().unwrap().seconds, 1_700_000_000);
    let mut used = std::collections::BTreeSet::new();
    for number in 0..12 {
        let id = format!("command-1-{number}");
        broker.add(gpu_task(&id, 1, "echo $CUDA_VISIBLE_DEVICES; sleep 0.1"));
    }
    for number in 0..12 {
        let id = format!("command-1-{number}");
        broker.settled(&id).await;
        used.insert(broker.log(&id, 1));
    }
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["0\n", "1\n", "3\n"]);
}

#[tokio::test]
async fn beside_a_small_idle_stranger_the_rest_is_given_away() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    gpus.bob(0, 642 << 20);
    let _worker = Worker::start(&broker, gpus.settings());
    let gpu = in_state(&broker, "GPU-0", GpuState::Ready).await;
    assert!(!gpu.processes[0].blocks);
    let offer = broker.until("an offer", |state| last_offer(state).cloned()).await;
    let (free, rest) = (offer.gpus[0].memory_free_bytes, 24 * GIB - (642 << 20));
    assert!(free <= rest && free > rest - (64 << 20), "{free}");
    let share = |bytes| Resources { gpu_memory_bytes: bytes, ..Resources::default() };
    broker.add(with("command-1-large", "exit 0", share(24 * GIB)));
    broker.add(with("command-1-small", "exit 0", share(23 * GIB)));
    assert!(matches!(broker.settled("command-1-small").await, Settled::Completed(_)));
    assert!(!broker.state().settled.contains_key("command-1-large"));
}

#[tokio::test]
async fn after_a_stranger_the_gpu_cools_down() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    gpus.bob(0, 2 * GIB);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.gpu.cool_down_ms = 2_500;
    });
    in_state(&broker, "GPU-0", GpuState::Foreign).await;
    broker.add(gpu_task("command-1-a", 1, "exit 0"));
    gpus.processes(0, serde_json::json!([]));
    let gpu = in_state(&broker, "GPU-0", GpuState::CoolingDown).await;
    assert!(gpu.reason.contains("bob") && gpu.until.is_some(), "{gpu:?}");
    assert!(!broker.state().settled.contains_key("command-1-a"));
    assert!(matches!(broker.settled("command-1-a").await, Settled::Completed(_)));
}

/// The worker looks once a minute here, so only the look before the launch can see him.
#[tokio::test]
async fn a_stranger_who_came_after_the_claim_gets_the_gpu() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.gpu.sample_interval_ms = 60_000;
    });
    broker
        .until("an offer", |state| {
            (last_offer(state)?.gpus[0].r#use() == GpuUse::Free).then_some(())
        })
        .await;
    gpus.bob(0, 2 * GIB);
    broker.add(gpu_task("command-1-a", 1, "echo ran"));
    let (reason, message, call) = released(broker.settled("command-1-a").await);
    assert_eq!(reason, FailureReason::NotStarted);
    assert!(message.contains("pid 4242 of bob"), "{message}");
    assert_eq!(call.exit_code, None);
    assert_eq!(broker.log("command-1-a", 1), "");
}

#[tokio::test]
async fn an_operator_has_a_process_ignored_or_adopted() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    gpus.bob(0, 2 * GIB);
    let _worker = Worker::start(&broker, gpus.settings());
    in_state(&broker, "GPU-0", GpuState::Foreign).await;
    let order = |treatment: GpuProcessTreatment| GpuProcessOrder {
        uuid: "GPU-0".to_owned(),
        pid: 4242,
        treatment: treatment.into(),
        time: Some(timestamp(1_800_000_000_000)),
    };
    broker.order(|orders| orders.processes = vec![order(GpuProcessTreatment::Ignored)]);
    let gpu = in_state(&broker, "GPU-0", GpuState::Ready).await;
    assert_eq!(gpu.processes[0].treatment(), GpuProcessTreatment::Ignored);
    broker.add(gpu_task("command-1-a", 1, "exit 0"));
    assert!(matches!(broker.settled("command-1-a").await, Settled::Completed(_)));
    broker.order(|orders| orders.processes = vec![order(GpuProcessTreatment::Adopted)]);
    let gpu = in_state(&broker, "GPU-0", GpuState::Foreign).await;
    assert!(gpu.reason.starts_with("reserved for pid 4242 of bob"), "{}", gpu.reason);
}

/// Starts a task without GPU, and shows its process on one. Gives the time until it was reported.
async fn trespass(broker: &FakeBroker, gpus: &mut Gpus, id: &str, stops: bool) {
    let go = gpus.dir.path().join("go");
    let needs = Resources { stop_on_trespass: stops, ..Resources::default() };
    broker.add(with(id, &format!("echo $$; {}", until_file(&go)), needs));
    ready(broker, id).await;
    let pid: i32 = broker.log(id, 1).lines().next().unwrap().parse().unwrap();
    gpus.processes(1, serde_json::json!([{ "pid": pid, "memory_bytes": 2 * GIB }]));
}

#[tokio::test]
async fn a_task_on_a_gpu_that_it_was_not_given_is_reported_within_10_seconds() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.gpu.sample_interval_ms = 2_000;
    });
    trespass(&broker, &mut gpus, "command-1-t", false).await;
    let found = |report: &HostReport| {
        let task = report.running.iter().find(|task| task.task_id == "command-1-t")?;
        (task.trespassed_gpus == ["GPU-1"]).then(|| report.clone())
    };
    let reporting = reported(&broker, "the trespass", found);
    let report = tokio::time::timeout(Duration::from_secs(10), reporting).await.unwrap();
    let alarm = "task command-1-t uses GPU 1 (GPU-1), which it was not given";
    assert_eq!(report.alarms, [alarm]);
    assert_eq!(report.gpus[1].state(), GpuState::Foreign, "nobody is put beside it");
    let line = "it uses GPU 1 (GPU-1), which it was not given\n";
    let key = ("command-1-t".to_owned(), 3);
    broker
        .until("the log", |state| {
            String::from_utf8_lossy(state.logs.get(&key)?).contains(line).then_some(())
        })
        .await;
    std::fs::write(gpus.dir.path().join("go"), "").unwrap();
    assert!(matches!(broker.settled("command-1-t").await, Settled::Completed(_)));
}

#[tokio::test]
async fn a_trespasser_is_stopped_if_its_type_says_so() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let _worker = Worker::start(&broker, gpus.settings());
    trespass(&broker, &mut gpus, "command-1-stops", true).await;
    let (reason, permanent, _, message) = failure(broker.settled("command-1-stops").await);
    assert_eq!((reason, permanent), (FailureReason::Trespassed, true));
    assert_eq!(message, "it used a GPU that it was not given: GPU 1 (GPU-1)");
}

#[tokio::test]
async fn gpus_that_are_held_for_work_by_hand_have_no_strangers_and_go_back_when_idle() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, gpus.settings());
    gpus.change(|content| content["devices"][0]["utilization_percent"] = 50.into());
    let result = r#"echo '{"event":"result","data":"kept"}' >> "$ASYNCFLOW_EVENTS""#;
    let needs = Resources {
        gpus: 1,
        interactive: true,
        gpu_idle_timeout: Some(asyncflow_proto::time::duration(1_500)),
        ..Resources::default()
    };
    let hold = format!("trap 'exit 0' TERM; {result}; echo ready; while :; do sleep 0.05; done");
    broker.add(with("command-1-hold", &hold, needs));
    ready(&broker, "command-1-hold").await;
    gpus.bob(0, 20 * GIB);
    reported(&broker, "bob's memory", |report| {
        let is_his = report.running.first()?.gpu_memory_bytes == 20 * GIB;
        (is_his && report.gpus[0].state() == GpuState::Ready).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert!(!broker.state().settled.contains_key("command-1-hold"), "it works");
    // Nobody knows whether it works while nobody sees it.
    gpus.change(|content| {
        content["devices"][0]["utilization_percent"] = 0.into();
        content["error"] = "not now".into();
    });
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    gpus.change(|content| content["error"] = "".into());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!broker.state().settled.contains_key("command-1-hold"), "it was not seen idle so long");
    let settled = broker.settled("command-1-hold").await;
    let Settled::Completed(call) = settled else { panic!("{settled:?}") };
    assert_eq!(call.result.unwrap().data, "\"kept\"");
    in_state(&broker, "GPU-0", GpuState::Foreign).await;
}

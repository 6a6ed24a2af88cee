//! GPUs and drivers that break.

use asyncflow_proto::time::timestamp;
use asyncflow_sdk::v1::{FailureReason, GpuOrder, GpuState, GpuUse};

use crate::{
    Gpus,
    fake::{FakeBroker, Settled, command_task},
    gpu_task, in_state, last_offer, ready, released, reported,
    support::{Worker, failure},
    until_file,
};

#[tokio::test]
async fn a_fault_of_the_program_is_told_with_its_failure() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, gpus.settings());
    let go = gpus.dir.path().join("go");
    broker.add(gpu_task("command-1-a", 1, &format!("{}; exit 1", until_file(&go))));
    ready(&broker, "command-1-a").await;
    gpus.fault(1, 0, 31);
    let what = "GPU 0 (GPU-0) showed XID 31 (the program used memory that it did not have)";
    let key = ("command-1-a".to_owned(), 3);
    broker
        .until("the log", |state| {
            String::from_utf8_lossy(state.logs.get(&key)?).contains(what).then_some(())
        })
        .await;
    std::fs::write(go, "").unwrap();
    let (reason, _, code, message) = failure(broker.settled("command-1-a").await);
    assert_eq!((reason, code), (FailureReason::Error, Some(1)));
    assert_eq!(message, format!("exit code 1; before that, {what}"));
    in_state(&broker, "GPU-0", GpuState::Ready).await;
}

#[tokio::test]
async fn a_fault_of_the_gpu_costs_the_task_nothing_and_the_gpu_its_work() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let settings = |gpus: &Gpus| {
        let settings = gpus.settings();
        move |config: &mut asyncflow_worker::WorkerConfig| {
            settings(config);
            config.gpu.quarantine_ms = vec![4_000];
        }
    };
    let mut worker = Worker::start(&broker, settings(&gpus));
    broker.add(gpu_task("command-1-a", 1, "echo ready; sleep 1000"));
    ready(&broker, "command-1-a").await;
    gpus.fault(1, 0, 79);
    let (reason, message, call) = released(broker.settled("command-1-a").await);
    assert_eq!(reason, FailureReason::GpuFault);
    assert!(call.elsewhere, "another host goes on with it");
    assert!(message.contains("XID 79 (it has fallen off the bus)"), "{message}");
    assert!(message.ends_with("; it goes to another host if there is one for it"), "{message}");
    let gpu = in_state(&broker, "GPU-0", GpuState::Quarantined).await;
    assert!(gpu.reason.contains("XID 79") && gpu.until.is_some(), "{gpu:?}");
    reported(&broker, "an alarm", |report| {
        report.alarms.iter().any(|alarm| alarm.contains("XID 79")).then_some(())
    })
    .await;
    // The next worker knows, though its file tells of nothing new.
    worker.drain.cancel();
    worker.end().await;
    let data_dir = worker.dir.path().join("data");
    broker.change(|state| state.reports.clear());
    let quarantine = settings(&gpus);
    let _second = Worker::start(&broker, move |config| {
        quarantine(config);
        config.data_dir = data_dir;
    });
    in_state(&broker, "GPU-0", GpuState::Quarantined).await;
    in_state(&broker, "GPU-0", GpuState::Ready).await;
    // Once more is once too often: only an operator brings it back.
    gpus.fault(2, 0, 48);
    let gpu = in_state(&broker, "GPU-0", GpuState::Broken).await;
    assert!(gpu.until.is_none());
    let forgive_time = Some(timestamp(i64::MAX / 1_000_000));
    let order = GpuOrder { uuid: "GPU-0".to_owned(), cordoned: false, forgive_time };
    broker.order(|orders| orders.gpus.push(order));
    in_state(&broker, "GPU-0", GpuState::Ready).await;
}

#[tokio::test]
async fn a_driver_that_hangs_or_fails_is_an_alarm_and_no_more() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.gpu.call_timeout_ms = 300;
    });
    in_state(&broker, "GPU-0", GpuState::Ready).await;
    gpus.change(|content| content["hang"] = true.into());
    let gpu = in_state(&broker, "GPU-0", GpuState::Broken).await;
    assert!(gpu.reason.contains("has not answered for 300ms"), "{}", gpu.reason);
    let alarms = reported(&broker, "an alarm", |report| {
        (!report.alarms.is_empty()).then(|| report.alarms.clone())
    });
    assert!(alarms.await[0].starts_with("GPUs cannot be looked at"));
    broker
        .until("an offer", |state| {
            (last_offer(state)?.gpus[0].r#use() == GpuUse::Unavailable).then_some(())
        })
        .await;
    broker.add(command_task("command-1-cpu", "true", &[]));
    assert!(matches!(broker.settled("command-1-cpu").await, Settled::Completed(_)));
    gpus.change(|content| content["hang"] = false.into());
    in_state(&broker, "GPU-0", GpuState::Ready).await;
    gpus.change(|content| content["error"] = "out of order".into());
    in_state(&broker, "GPU-0", GpuState::Broken).await;
    gpus.change(|content| content["error"] = "".into());
    in_state(&broker, "GPU-0", GpuState::Ready).await;
}

#[tokio::test]
async fn a_gpu_that_is_gone_is_not_given_away() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let _worker = Worker::start(&broker, gpus.settings());
    in_state(&broker, "GPU-1", GpuState::Ready).await;
    gpus.change(|content| drop(content["devices"].as_array_mut().unwrap().pop()));
    let gpu = in_state(&broker, "GPU-1", GpuState::Broken).await;
    assert_eq!(gpu.reason, "it is not to be seen any more");
}

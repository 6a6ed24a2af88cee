//! What a worker that goes on with the tasks of a former one knows of their GPUs.

use asyncflow_sdk::v1::{GpuState, GpuUse};

use crate::{
    Gpus,
    fake::{FakeBroker, Settled},
    gpu_task, ready, reported,
    support::Worker,
    until_file,
};

/// The file says whose process it is only by its number, so the second worker has to know it.
#[tokio::test]
async fn an_adopted_task_keeps_its_gpu_from_the_first_offer_on() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let go = gpus.dir.path().join("go");
    let mut first = Worker::start(&broker, gpus.settings());
    broker.add(gpu_task("command-1-kept", 1, &format!("echo $$; {}", until_file(&go))));
    ready(&broker, "command-1-kept").await;
    let pid: i32 = broker.log("command-1-kept", 1).lines().next().unwrap().parse().unwrap();
    let processes = serde_json::json!([{ "pid": pid, "memory_bytes": 8_i64 << 30 }]);
    gpus.processes(0, processes);
    broker.order(|orders| orders.detach = true);
    first.end().await;
    let data_dir = first.dir.path().join("data");
    broker.change(|state| {
        state.orders.detach = false;
        state.acquires.clear();
        state.reports.clear();
    });
    let settings = gpus.settings();
    let _second = Worker::start(&broker, move |config| {
        settings(config);
        config.data_dir = data_dir;
    });
    let offer = broker.until("an offer", |state| state.acquires.first()?.offer.clone()).await;
    let uses: Vec<_> = offer.gpus.iter().map(|gpu| gpu.r#use()).collect();
    assert_eq!(uses, [GpuUse::Exclusive, GpuUse::Free]);
    let report =
        reported(&broker, "the task", |report| (report.running.len() == 1).then(|| report.clone()))
            .await;
    assert_eq!(report.running[0].gpus, ["GPU-0"]);
    assert_eq!(report.gpus[0].state(), GpuState::Ready);
    assert!(report.gpus[0].processes.is_empty(), "{:?}", report.gpus[0].processes);
    std::fs::write(go, "").unwrap();
    let Settled::Completed(call) = broker.settled("command-1-kept").await else { panic!() };
    let usage = call.usage.unwrap();
    assert_eq!((usage.gpus, usage.gpu_memory_peak_bytes), (vec!["GPU-0".to_owned()], 8 << 30));
}

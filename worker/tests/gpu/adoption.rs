//! What a worker that goes on with the tasks of a former one knows of their GPUs.

use asyncflow_proto::time::duration;
use asyncflow_sdk::v1::{GpuState, GpuUse, HostOffer, Resources, Task};

use crate::{
    GIB, Gpus,
    fake::{FakeBroker, Settled},
    gpu_task, ready, reported,
    support::Worker,
    until_file, with,
};

/// Runs a task, which then uses so much of GPU 0, and lets a second worker go on with it. Gives the
/// first offer of that one. The file says whose a process is only by its number, so the second
/// worker has to know it.
async fn taken_over(
    broker: &FakeBroker,
    gpus: &mut Gpus,
    task: Task,
    used_bytes: i64,
) -> ([Worker; 2], HostOffer) {
    let id = task.id.clone();
    let mut first = Worker::start(broker, gpus.settings());
    broker.add(task);
    ready(broker, &id).await;
    let pid: i32 = broker.log(&id, 1).lines().next().unwrap().parse().unwrap();
    gpus.processes(0, serde_json::json!([{ "pid": pid, "memory_bytes": used_bytes }]));
    broker.order(|orders| orders.detach = true);
    first.end().await;
    let data_dir = first.dir.path().join("data");
    broker.change(|state| {
        state.orders.detach = false;
        state.acquires.clear();
        state.reports.clear();
    });
    let settings = gpus.settings();
    let second = Worker::start(broker, move |config| {
        settings(config);
        config.data_dir = data_dir;
    });
    let offer = broker.until("an offer", |state| state.acquires.first()?.offer.clone()).await;
    ([first, second], offer)
}

#[tokio::test]
async fn an_adopted_task_keeps_its_gpu_from_the_first_offer_on() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let go = gpus.dir.path().join("go");
    let task = gpu_task("command-1-kept", 1, &format!("echo $$; {}", until_file(&go)));
    let (_workers, offer) = taken_over(&broker, &mut gpus, task, 8 * GIB).await;
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

/// What it uses is in its share, and is not taken off what is left a second time.
#[tokio::test]
async fn the_share_of_an_adopted_task_counts_once() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(1);
    let go = gpus.dir.path().join("go");
    let needs = Resources { gpu_memory_bytes: 12 * GIB, ..Resources::default() };
    let mut task = with("command-1-part", &format!("echo $$; {}", until_file(&go)), needs);
    task.max_running_time = Some(duration(3_600_000));
    let (_workers, offer) = taken_over(&broker, &mut gpus, task, 11 * GIB).await;
    assert_eq!(offer.gpus[0].r#use(), GpuUse::Shared);
    assert_eq!(offer.gpus[0].memory_free_bytes, 12 * GIB);
    std::fs::write(go, "").unwrap();
    assert!(matches!(broker.settled("command-1-part").await, Settled::Completed(_)));
}

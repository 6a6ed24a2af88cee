//! Who gets which GPU, and sees which.

use std::time::Duration;

use asyncflow_sdk::v1::{FailureReason, GpuState, GpuUse, Placement, Resources};
use asyncflow_worker::{ProviderChoice, VisibleAs};

use crate::{
    GIB, Gpus,
    fake::{FakeBroker, Settled, command_task},
    gpu_task, in_state, last_offer, ready, released, reported,
    support::Worker,
    until_file, with,
};

/// A second, and one more for a machine that runs all these tests at once.
const START_MAX: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_host_without_driver_starts_at_once_and_runs_what_needs_none() {
    let broker = FakeBroker::start().await;
    let empty = tempfile::tempdir().unwrap();
    let _worker = Worker::start(&broker, |config| {
        config.gpu.provider = ProviderChoice::Auto;
        config.gpu.nvml_library = "/nonexistent/libnvidia-ml.so.1".into();
        config.gpu.nvidia_smi = "/nonexistent/nvidia-smi".into();
        config.gpu.amd_root = empty.path().to_owned();
    });
    let acquiring = broker.until("an acquire", |state| state.acquires.first().map(drop));
    tokio::time::timeout(START_MAX, acquiring).await.unwrap();
    let report = reported(&broker, "a report", |report| Some(report.clone())).await;
    assert_eq!((report.gpu_provider.as_str(), report.gpus.len()), ("none", 0));
    assert_eq!(report.alarms, Vec::<String>::new());
    assert!(report.cpus >= 1.0 && report.memory_bytes > 0, "{report:?}");
    broker.add(command_task("command-1-cpu", "sh", &["-c", "echo gpus=$ASYNCFLOW_GPUS."]));
    assert!(matches!(broker.settled("command-1-cpu").await, Settled::Completed(_)));
    assert_eq!(broker.log("command-1-cpu", 1), "gpus=.\n");
}

/// Each makes a directory of its GPU's name, which only one can.
#[tokio::test]
async fn a_hundred_tasks_on_four_gpus_are_never_two_on_one_and_each_sees_exactly_one() {
    let broker = FakeBroker::start().await;
    let gpus = Gpus::new(4);
    let locks = tempfile::tempdir().unwrap();
    let _worker = Worker::start(&broker, gpus.settings());
    let script = format!(
        "cd {}; mkdir gpu$CUDA_VISIBLE_DEVICES || exit 64; \
         echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES $ASYNCFLOW_GPUS; \
         sleep 0.02; rmdir gpu$CUDA_VISIBLE_DEVICES",
        locks.path().display()
    );
    let ids: Vec<_> = (0..100).map(|number| format!("command-1-{number}")).collect();
    for id in &ids {
        broker.add(gpu_task(id, 1, &script));
    }
    let mut seen = std::collections::BTreeSet::new();
    for id in &ids {
        let settled = broker.settled(id).await;
        assert!(matches!(settled, Settled::Completed(_)), "{settled:?}");
        seen.insert(broker.log(id, 1));
    }
    let expected = [0, 1, 2, 3].map(|gpu| format!("PCI_BUS_ID {gpu} GPU-{gpu}\n"));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn twenty_tasks_of_10_gib_share_a_card_of_24_two_at_a_time() {
    let broker = FakeBroker::start().await;
    let gpus = Gpus::new(1);
    let dir = tempfile::tempdir().unwrap();
    let _worker = Worker::start(&broker, gpus.settings());
    let script = format!(
        "cd {}; touch $$; ls | wc -l; sleep 0.1; rm $$; echo $ASYNCFLOW_GPU_MEMORY_BYTES",
        dir.path().display()
    );
    let share = || Resources { gpu_memory_bytes: 10 * GIB, ..Resources::default() };
    let ids: Vec<_> = (0..20).map(|number| format!("command-1-{number}")).collect();
    for id in &ids {
        broker.add(with(id, &script, share()));
    }
    let mut most = 0;
    for id in &ids {
        assert!(matches!(broker.settled(id).await, Settled::Completed(_)));
        let log = broker.log(id, 1);
        let (count, share) = log.split_once('\n').unwrap();
        assert_eq!(share.trim(), (10 * GIB).to_string());
        most = most.max(count.trim().parse().unwrap());
    }
    assert_eq!(most, 2);
}

#[tokio::test]
async fn what_a_task_says_of_its_gpus_itself_does_not_count() {
    let broker = FakeBroker::start().await;
    let gpus = Gpus::new(2);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.gpu.visible_as = VisibleAs::Uuid;
    });
    let says = "echo $CUDA_VISIBLE_DEVICES";
    let mut cheat = gpu_task("command-1-cheat", 1, says);
    let own = [("CUDA_VISIBLE_DEVICES".to_owned(), "0,1".to_owned())];
    cheat.command.as_mut().unwrap().environment = own.clone().into();
    let mut none = command_task("command-1-none", "sh", &["-c", says]);
    none.command.as_mut().unwrap().environment = own.into();
    broker.add(cheat);
    broker.add(none);
    broker.settled("command-1-cheat").await;
    assert_eq!(broker.log("command-1-cheat", 1), "GPU-0\n");
    broker.settled("command-1-none").await;
    assert_eq!(broker.log("command-1-none", 1), "-1\n");
}

#[tokio::test]
async fn amd_hides_gpus_by_variables_of_its_own() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(3);
    gpus.change(|content| content["amd"] = true.into());
    let _worker = Worker::start(&broker, gpus.settings());
    let placed = |uuids: &[&str]| {
        let gpus = uuids.iter().map(|uuid| (*uuid).to_owned()).collect();
        Placement { gpus, gpu_memory_bytes: 0 }
    };
    broker.change(|state| {
        state.placements.insert("command-1-two".to_owned(), placed(&["GPU-1", "GPU-2"]))
    });
    let says = "echo $ROCR_VISIBLE_DEVICES $HIP_VISIBLE_DEVICES cuda=$CUDA_VISIBLE_DEVICES";
    broker.add(gpu_task("command-1-two", 2, says));
    broker.settled("command-1-two").await;
    assert_eq!(broker.log("command-1-two", 1), "1,2 0,1 cuda=\n");
}

/// A broker that is mistaken does not make two tasks share.
#[tokio::test]
async fn a_place_that_is_taken_gives_the_task_back_without_a_failure() {
    let broker = FakeBroker::start().await;
    let gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, gpus.settings());
    let place = Placement { gpus: vec!["GPU-0".to_owned()], gpu_memory_bytes: 0 };
    broker.change(|state| {
        for id in ["command-1-a", "command-1-b"] {
            state.placements.insert(id.to_owned(), place.clone());
        }
    });
    let go = gpus.dir.path().join("go");
    broker.add(gpu_task("command-1-a", 1, &until_file(&go)));
    ready(&broker, "command-1-a").await;
    broker.add(gpu_task("command-1-b", 1, "exit 0"));
    let (reason, message, call) = released(broker.settled("command-1-b").await);
    assert_eq!(reason, FailureReason::NotStarted);
    assert_eq!(message, "command-1-a has GPU-0");
    assert!(call.delay.is_some(), "it would come back at once");
    std::fs::write(go, "").unwrap();
    assert!(matches!(broker.settled("command-1-a").await, Settled::Completed(_)));
}

#[tokio::test]
async fn what_tasks_have_is_offered_and_reported() {
    let broker = FakeBroker::start().await;
    let mut gpus = Gpus::new(2);
    let _worker = Worker::start(&broker, |config| {
        gpus.settings()(config);
        config.cpus = 8.0;
        config.memory_bytes = 64 << 30;
    });
    let go = gpus.dir.path().join("go");
    let needs = Resources { gpus: 1, cpus: 1.5, memory_bytes: 4 * GIB, ..Resources::default() };
    let mut task = with("command-1-a", &format!("echo $$; {}", until_file(&go)), needs);
    task.max_running_time = Some(asyncflow_proto::time::duration(3_600_000));
    broker.add(task);
    ready(&broker, "command-1-a").await;
    let pid: i32 = broker.log("command-1-a", 1).lines().next().unwrap().parse().unwrap();
    let own = serde_json::json!([{ "pid": pid, "memory_bytes": 3 * GIB }]);
    gpus.change(|content| content["devices"][0]["utilization_percent"] = 80.into());
    gpus.processes(0, own);
    let report = reported(&broker, "what it uses", |report| {
        let task = report.running.first()?;
        (task.gpu_memory_bytes == 3 * GIB).then(|| report.clone())
    })
    .await;
    let (running, gpu) = (&report.running[0], &report.gpus[0]);
    assert_eq!(
        (running.task_id.as_str(), &running.gpus[..]),
        ("command-1-a", &["GPU-0".to_owned()][..])
    );
    assert_eq!(running.gpu_utilization_percent, 80);
    assert!(running.end_time_max.is_some() && running.usage.as_ref().unwrap().gpu_seconds > 0.0);
    assert_eq!(
        (gpu.state(), &gpu.task_ids[..]),
        (GpuState::Ready, &["command-1-a".to_owned()][..])
    );
    assert!(gpu.processes.is_empty(), "it is no stranger: {:?}", gpu.processes);
    assert_eq!(
        (report.cpus_free.to_string().as_str(), report.memory_free_bytes),
        ("6.5", 60 << 30)
    );
    let offer = broker.until("an offer", |state| {
        let offer = last_offer(state)?;
        (offer.gpus[0].r#use() == GpuUse::Exclusive).then(|| offer.clone())
    });
    let offer = offer.await;
    assert!(offer.gpus[0].free_time.is_some());
    assert_eq!((offer.gpus[1].r#use(), offer.cpus.to_string().as_str()), (GpuUse::Free, "6.5"));
    std::fs::write(go, "").unwrap();
    let Settled::Completed(call) = broker.settled("command-1-a").await else { panic!() };
    let usage = call.usage.unwrap();
    assert_eq!((usage.gpus, usage.gpu_memory_peak_bytes), (vec!["GPU-0".to_owned()], 3 * GIB));
    assert!(usage.gpu_seconds > 0.0 && usage.gpu_utilization_percent > 0.0);
}

#[tokio::test]
async fn a_cordoned_gpu_is_not_offered() {
    let broker = FakeBroker::start().await;
    let gpus = Gpus::new(1);
    let _worker = Worker::start(&broker, gpus.settings());
    let order = asyncflow_sdk::v1::GpuOrder {
        uuid: "GPU-0".to_owned(),
        cordoned: true,
        forgive_time: None,
    };
    broker.order(|orders| orders.gpus.push(order));
    in_state(&broker, "GPU-0", GpuState::Cordoned).await;
    broker
        .until("an offer", |state| {
            (last_offer(state)?.gpus[0].r#use() == GpuUse::Unavailable).then_some(())
        })
        .await;
    broker.add(gpu_task("command-1-a", 1, "exit 0"));
    broker.order(|orders| orders.gpus[0].cordoned = false);
    assert!(matches!(broker.settled("command-1-a").await, Settled::Completed(_)));
}

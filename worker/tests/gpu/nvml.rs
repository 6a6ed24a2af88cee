//! The way through NVIDIA's library, with one that is built here.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use asyncflow_proto::time::duration;
use asyncflow_sdk::v1::{FailureReason, GpuState, Resources};
use asyncflow_worker::{ProviderChoice, WorkerConfig};
use tempfile::TempDir;

use crate::{
    fake::{FakeBroker, Settled, command_task},
    gpu_task, in_state, ready, released, reported,
    support::Worker,
    with,
};

/// The library, and the file that it answers from.
struct Library {
    dir: TempDir,
}

fn built() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap().keep();
        let path = dir.join("libnvidia-ml.so.1");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gpu/nvml.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&path);
        assert!(compiler.args([source, "-ldl"]).status().unwrap().success());
        path
    })
}

impl Library {
    /// Each test has its own copy, which the system loads as a library of its own.
    fn new(state: &str) -> Self {
        let library = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::copy(built(), library.path()).unwrap();
        library.say(state);
        library
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("libnvidia-ml.so.1")
    }

    fn say(&self, state: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, state).unwrap();
        std::fs::rename(new, self.dir.path().join("libnvidia-ml.so.1.state")).unwrap();
    }

    fn settings(&self) -> impl FnOnce(&mut WorkerConfig) + use<> {
        let path = self.path();
        move |config| {
            config.gpu.provider = ProviderChoice::Auto;
            config.gpu.nvml_library = path;
            config.gpu.sample_interval_ms = 100;
        }
    }
}

/// Listed in another order than that of the bus.
const TWO: &str = "gpu GPU-b 00000000:81:00.0 25769803776 0 7 41 63000\n\
                   gpu GPU-a 00000000:01:00.0 25769803776 0 0 30 20000\n";

#[tokio::test]
async fn the_library_tells_of_gpus_processes_and_faults() {
    let broker = FakeBroker::start().await;
    let library = Library::new(TWO);
    let _worker = Worker::start(&broker, library.settings());
    let report = reported(&broker, "GPUs", |report| Some(report.clone())).await;
    assert_eq!(report.gpu_provider, "nvml");
    let seen: Vec<_> = report.gpus.iter().map(|gpu| (gpu.index, gpu.uuid.as_str())).collect();
    assert_eq!(seen, [(0, "GPU-a"), (1, "GPU-b")], "in the order of the bus");
    let gpu = &report.gpus[1];
    assert_eq!((gpu.model.as_str(), gpu.memory_bytes), ("NVIDIA Fake 24GB", 24 << 30));
    assert_eq!((gpu.utilization_percent, gpu.temperature_celsius), (7, 41));
    assert_eq!(gpu.power_watts.to_string(), "63");
    let pid = std::process::id();
    // This test is a stranger to the worker: it has no mark in its environment.
    library.say(&format!("{TWO}process 0 {pid} 2147483648 90\n"));
    let gpu = in_state(&broker, "GPU-b", GpuState::Foreign).await;
    let process = &gpu.processes[0];
    assert_eq!((process.pid, process.memory_bytes), (pid as i32, 2 << 30));
    assert_eq!(process.utilization_percent, 90);
    assert!(!process.user.is_empty() && !process.command.is_empty(), "{process:?}");
    broker.add(gpu_task("command-1-a", 1, "echo ready $CUDA_VISIBLE_DEVICES; sleep 1000"));
    ready(&broker, "command-1-a").await;
    assert_eq!(broker.log("command-1-a", 1), "ready 0\n");
    library.say(&format!("{TWO}xid 1 79\n"));
    let (reason, message, _) = released(broker.settled("command-1-a").await);
    assert_eq!(reason, FailureReason::GpuFault);
    assert!(message.contains("GPU 0 (GPU-a) showed XID 79"), "{message}");
    in_state(&broker, "GPU-a", GpuState::Quarantined).await;
}

#[tokio::test]
async fn a_driver_that_does_not_fit_its_library_is_an_alarm() {
    let broker = FakeBroker::start().await;
    let library = Library::new("init 18\n");
    let _worker = Worker::start(&broker, library.settings());
    let report = reported(&broker, "a report", |report| Some(report.clone())).await;
    assert_eq!((report.gpu_provider.as_str(), report.gpus.len()), ("nvml", 0));
    assert!(report.alarms[0].contains("driver and library do not fit"), "{:?}", report.alarms);
    let says = "echo $CUDA_VISIBLE_DEVICES";
    broker.add(command_task("command-1-cpu", "sh", &["-c", says]));
    assert!(matches!(broker.settled("command-1-cpu").await, Settled::Completed(_)));
    assert_eq!(broker.log("command-1-cpu", 1), "-1\n", "what it would see does not work");
}

#[tokio::test]
async fn a_library_that_hangs_holds_up_nothing_else() {
    let broker = FakeBroker::start().await;
    let library = Library::new(&format!("{TWO}hang\n"));
    let settings = library.settings();
    let _worker = Worker::start(&broker, |config| {
        settings(config);
        config.gpu.call_timeout_ms = 300;
    });
    broker.add(command_task("command-1-cpu", "true", &[]));
    assert!(matches!(broker.settled("command-1-cpu").await, Settled::Completed(_)));
    let alarms = reported(&broker, "an alarm", |report| {
        (!report.alarms.is_empty()).then(|| report.alarms.clone())
    });
    assert!(alarms.await[0].starts_with("GPUs cannot be looked at"));
    library.say(TWO);
    in_state(&broker, "GPU-a", GpuState::Ready).await;
}

/// Its neighbour is not taken for it.
#[tokio::test]
async fn a_gpu_that_cannot_be_read_keeps_its_number() {
    let broker = FakeBroker::start().await;
    let library = Library::new(TWO);
    let _worker = Worker::start(&broker, library.settings());
    in_state(&broker, "GPU-a", GpuState::Ready).await;
    library.say(&format!("{TWO}lost 1\n"));
    let gone = in_state(&broker, "GPU-a", GpuState::Broken).await;
    let left = in_state(&broker, "GPU-b", GpuState::Ready).await;
    assert_eq!((gone.index, left.index), (0, 1));
    broker.add(gpu_task("command-1-left", 1, "echo ready $CUDA_VISIBLE_DEVICES"));
    ready(&broker, "command-1-left").await;
    let log = broker.log("command-1-left", 1);
    assert_eq!(log, "ready GPU-b\n", "whether the driver numbers it anew nobody knows");
}

/// As on a card in MIG mode.
#[tokio::test]
async fn what_cannot_be_measured_is_not_idle() {
    let broker = FakeBroker::start().await;
    let library = Library::new("gpu GPU-a 00000000:01:00.0 25769803776 0 255 30 20000\n");
    let _worker = Worker::start(&broker, library.settings());
    let needs =
        Resources { gpus: 1, gpu_idle_timeout: Some(duration(500)), ..Resources::default() };
    broker.add(with("command-1-mig", "echo ready; sleep 2", needs));
    let settled = broker.settled("command-1-mig").await;
    assert!(matches!(settled, Settled::Completed(_)), "{settled:?}");
}

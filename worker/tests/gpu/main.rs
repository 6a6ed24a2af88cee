//! GPUs of a host with real processes, against a fake broker: by the fake provider's file, and by a
//! library that is built here in the place of NVIDIA's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod adoption;
#[path = "../../../sdk/rust/tests/fake/mod.rs"]
#[allow(dead_code, reason = "shared with the runtime's tests")]
mod fake;
mod faults;
mod nvml;
mod report;
mod sharing;
mod strangers;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared between test programs")]
mod support;

use std::path::{Path, PathBuf};

use asyncflow_sdk::v1::{
    FailureReason, Gpu, GpuState, HostReport, ReleaseTaskRequest, Resources, Task,
};
use asyncflow_worker::{ProviderChoice, WorkerConfig};
use fake::{FakeBroker, Settled, State, command_task};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const GIB: i64 = 1 << 30;

/// The file of the fake provider.
pub struct Gpus {
    dir: TempDir,
    content: Value,
}

impl Gpus {
    /// So many GPUs of 24 GiB, called GPU-0, GPU-1 …
    pub fn new(count: usize) -> Self {
        let gpu = |number| json!({ "uuid": format!("GPU-{number}"), "memory_bytes": 24 * GIB });
        let devices: Vec<_> = (0..count).map(gpu).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut gpus = Self { dir, content: json!({ "devices": devices, "faults": [] }) };
        gpus.change(|_| {});
        gpus
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("gpus.json")
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.content);
        let new = self.dir.path().join("new");
        std::fs::write(&new, self.content.to_string()).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    /// Who is on a GPU, from now on.
    pub fn processes(&mut self, gpu: usize, processes: Value) {
        self.change(|content| content["devices"][gpu]["processes"] = processes);
    }

    /// A process of bob's, who works by hand.
    pub fn bob(&mut self, gpu: usize, memory_bytes: i64) {
        let start_ms = 1_700_000_000_000_i64;
        self.processes(
            gpu,
            json!([{ "pid": 4242, "memory_bytes": memory_bytes, "user": "bob",
                     "command": "python notebook.py", "start_ms": start_ms }]),
        );
    }

    pub fn fault(&mut self, id: u64, gpu: usize, xid: u32) {
        let fault = json!({ "id": id, "uuid": format!("GPU-{gpu}"), "xid": xid });
        self.change(|content| content["faults"].as_array_mut().unwrap().push(fault));
    }

    /// Settings of a worker that has these GPUs.
    pub fn settings(&self) -> impl FnOnce(&mut WorkerConfig) + use<> {
        let path = self.path();
        move |config| {
            config.gpu.provider = ProviderChoice::Fake;
            config.gpu.fake_file = path;
            config.gpu.sample_interval_ms = 100;
        }
    }
}

/// A shell script that needs whole GPUs.
pub fn gpu_task(id: &str, gpus: i32, script: &str) -> Task {
    with(id, script, Resources { gpus, ..Resources::default() })
}

/// A shell script with needs.
pub fn with(id: &str, script: &str, resources: Resources) -> Task {
    let mut task = command_task(id, "sh", &["-c", script]);
    task.resources = Some(resources);
    task
}

/// Runs until a file appears.
pub fn until_file(path: &Path) -> String {
    format!("echo ready; until test -e {}; do sleep 0.02; done", path.display())
}

pub async fn ready(broker: &FakeBroker, task_id: &str) {
    let key = (task_id.to_owned(), 1);
    broker.until("output", |state| state.logs.get(&key).map(drop)).await;
}

/// Waits for a report with a property.
pub async fn reported<T>(
    broker: &FakeBroker,
    what: &str,
    found: impl Fn(&HostReport) -> Option<T>,
) -> T {
    broker.until(what, |state| state.reports.last().and_then(&found)).await
}

/// Waits until a GPU is reported in a state, and gives what was said of it.
pub async fn in_state(broker: &FakeBroker, uuid: &str, wanted: GpuState) -> Gpu {
    let is_there = |report: &HostReport| {
        let gpu = report.gpus.iter().find(|gpu| gpu.uuid == uuid)?;
        (gpu.state() == wanted).then(|| gpu.clone())
    };
    reported(broker, &format!("{uuid} in {wanted:?}"), is_there).await
}

pub fn released(settled: Settled) -> (FailureReason, String, ReleaseTaskRequest) {
    let Settled::Released(call) = settled else { panic!("not released: {settled:?}") };
    let failure = call.failure.clone().unwrap();
    (failure.reason(), failure.message, call)
}

/// What a worker offered last.
pub fn last_offer(state: &State) -> Option<&asyncflow_sdk::v1::HostOffer> {
    state.acquires.last()?.offer.as_ref()
}

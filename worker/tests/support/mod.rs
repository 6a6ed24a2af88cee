//! A worker inside of the test, with its own directory.

pub mod program;
pub mod small_disk;

use std::io::Write;

use asyncflow_sdk::{v1::FailureReason, worker::Handlers};
use asyncflow_worker::{WorkerConfig, WorkerError, run_until};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake::{FakeBroker, Settled};

/// Says that the test of this thread, or a part of it, is not made here: past the capture of the
/// test runner, which shows what is printed of failed tests alone.
pub fn tell_skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED in {}: {reason}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

pub struct Worker {
    pub dir: TempDir,
    pub drain: CancellationToken,
    running: Option<JoinHandle<Result<(), WorkerError>>>,
}

impl Worker {
    pub fn start(broker: &FakeBroker, adjust: impl FnOnce(&mut WorkerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = WorkerConfig::defaults().unwrap();
        config.data_dir = dir.path().join("data");
        config.broker.addresses = vec![broker.url()];
        config.slots = 16;
        config.metrics.address = None;
        // This test program is no shim.
        config.command.shim = env!("CARGO_BIN_EXE_asyncflow-worker").into();
        adjust(&mut config);
        let drain = CancellationToken::new();
        let abort = CancellationToken::new();
        let running = tokio::spawn(run_until(config, Handlers::new(), drain.clone(), abort));
        Self { dir, drain, running: Some(running) }
    }

    pub fn attempt_dir(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("data/attempts").join(name)
    }

    /// Waits for its end.
    pub async fn end(&mut self) {
        self.running.take().unwrap().await.unwrap().unwrap();
    }
}

pub fn failure(settled: Settled) -> (FailureReason, bool, Option<i32>, String) {
    let Settled::Failed(call) = settled else { panic!("not failed: {settled:?}") };
    let failure = call.failure.unwrap();
    (failure.reason(), call.permanent, call.exit_code, failure.message)
}

/// A value that no other test uses.
pub fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The living processes with this text in their environment.
pub fn alive_with(marker: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(marker.len()).any(|part| part == marker.as_bytes())
    };
    pids.filter(carries).collect()
}

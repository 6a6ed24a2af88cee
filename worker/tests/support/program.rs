//! The worker as a program, which can be killed.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::fake::FakeBroker;

/// One process.
pub struct Program(Child);

impl Program {
    pub fn start(broker: &FakeBroker, data_dir: &Path, settings: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_asyncflow-worker"));
        Self::start_from(program, broker, data_dir, settings)
    }

    pub fn start_from(
        program: &Path,
        broker: &FakeBroker,
        data_dir: &Path,
        settings: &[&str],
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(["--set", &format!("broker.addresses=[\"{}\"]", broker.url())])
            .args(["--set", &format!("data_dir={}", data_dir.display())])
            .args(["--set", "metrics.address=", "--set", "log.filter=warn"])
            .args(["--set", "slots=16"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    pub async fn ended(mut self) -> Option<i32> {
        let waiting = tokio::task::spawn_blocking(move || self.0.wait().unwrap().code());
        waiting.await.unwrap()
    }

    /// kill -9.
    pub async fn kill(self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.ended().await, None);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the shim of an attempt has written about itself.
pub fn shim_record(data_dir: &Path, attempt: &str) -> Value {
    let path = data_dir.join("attempts").join(attempt).join("shim.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The process that watches over an attempt.
pub fn shim_of(data_dir: &Path, attempt: &str) -> i32 {
    shim_record(data_dir, attempt)["shim"]["pid"].as_i64().unwrap() as i32
}

/// The record of an attempt's end, once it is there.
pub async fn exit_record(data_dir: &Path, attempt: &str) -> Value {
    let path = data_dir.join("attempts").join(attempt).join("exit.json");
    let looking = async {
        loop {
            if let Ok(text) = std::fs::read(&path) {
                return serde_json::from_slice(&text).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking).await.expect("the attempt does not end")
}

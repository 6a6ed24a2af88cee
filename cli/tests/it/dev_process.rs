//! An `asyncflow dev` on free ports in a directory of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::program::{Done, asyncflow};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Times that fit a test.
const FAST: [&str; 6] = [
    "--set",
    "worker.drain_time_ms=0",
    "--set",
    "worker.stop_grace_ms=2000",
    "--set",
    "broker.drain_time_ms=1000",
];

/// A running one; dropping it stops it.
pub struct Dev {
    child: Child,
    dir: TempDir,
    pub broker: String,
    pub governor: String,
    pub http: String,
}

impl Dev {
    /// Starts one on a fresh directory; returns when it says that it is ready.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts one on a directory which another one may have left.
    pub fn start_in(dir: TempDir) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same with more words on its command line.
    pub fn start_with(dir: TempDir, more: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", dir, more)
    }

    /// Starts one where another one listened.
    pub fn start_again(broker: &str, dir: TempDir) -> Self {
        Self::start_on(broker.trim_start_matches("http://"), dir, &[])
    }

    fn start_on(listen: &str, dir: TempDir, more: &[&str]) -> Self {
        let mut command = command_on(listen, dir.path());
        let mut child = command.args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.by_ref().map(Result::unwrap).any(|line| line == "asyncflow is ready");
        assert!(ready, "it ended with {:?}", child.wait());
        let text = std::fs::read_to_string(dir.path().join("dev.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["pid"], child.id());
        let address = |key: &str| json[key].as_str().unwrap().to_owned();
        let (broker, governor, http) = (address("broker"), address("governor"), address("http"));
        Self { child, dir, broker, governor, http }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command that talks to it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = asyncflow(args);
        command.env("ASYNCFLOW_BROKER", &self.broker).env("ASYNCFLOW_GOVERNOR", &self.governor);
        command
    }

    /// Runs such a command to its end.
    pub fn call(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    /// Creates a task of a type that is due in an hour, so that it stays as it is; gives its id.
    pub fn idle_task(&self, more: &[&str]) -> String {
        let args = ["task", "create", "-t", "idle", "--delay", "1h", "-o", "id"];
        let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
        self.call(&args).expect_code(0).stdout.trim().to_owned()
    }

    /// Stops it as a service manager would; gives its exit code and directory.
    pub fn stop(mut self) -> (i32, TempDir) {
        signal(&self.child, Signal::SIGTERM);
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (code, dir)
    }

    /// Pulls the plug.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // By SIGTERM, so that it stops what its worker runs.
            signal(&self.child, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

/// `asyncflow dev` on free ports with times that fit a test.
pub fn command_in(dir: &Path) -> Command {
    command_on("127.0.0.1:0", dir)
}

fn command_on(listen: &str, dir: &Path) -> Command {
    let mut command = asyncflow(&["dev", "--listen", listen, "--data-dir"]);
    command.arg(dir).args(FAST);
    command
}

pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

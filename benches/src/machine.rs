//! On what a figure was made.

use serde::{Deserialize, Serialize};
use std::fs;

/// Stands beside every figure: without it the figure says nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    commit: String,
    profile: String,
}

impl Machine {
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib =
            field(&meminfo, "MemTotal").split_whitespace().next().unwrap_or("0").parse();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: field(&cpuinfo, "model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gb: memory_kib.unwrap_or(0_u64) * 1_024 / 1_000_000_000,
            kernel: kernel.trim().to_owned(),
            commit: option_env!("ASYNCFLOW_COMMIT").unwrap_or_default().to_owned(),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned(),
        }
    }

    /// One line for people.
    pub fn sentence(&self) -> String {
        let Self { cpu, cores, memory_gb, kernel, commit, profile } = self;
        format!(
            "{cores} cores of {cpu}, {memory_gb} GB, Linux {kernel}, profile {profile}, commit \
             {commit}; load generator, broker and database on the same machine"
        )
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map_or("", |(_, value)| value.trim())
}

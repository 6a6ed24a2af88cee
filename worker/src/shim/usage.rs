//! What an attempt uses: its control group says it, or what the kernel counts of ended children and
//! a look at the living ones from time to time.

use std::{fs, time::Duration};

use nix::sys::resource::{UsageWho, getrusage};

use crate::process::{Leaf, children_of, resident_bytes};

/// Gathers while it runs.
#[derive(Debug, Default)]
pub struct Usage {
    memory_peak_bytes: u64,
    host_oom_kills: u64,
}

impl Usage {
    /// To be called before the program starts.
    pub fn begin() -> Self {
        Self { memory_peak_bytes: 0, host_oom_kills: host_oom_kills() }
    }

    /// Looks at the memory of the tree that descends from this process.
    pub fn look(&mut self) {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let total: u64 = children_of(own).into_iter().map(resident_bytes).sum();
        self.memory_peak_bytes = self.memory_peak_bytes.max(total);
    }

    /// CPU seconds and most memory, at the end.
    pub fn total(&self, leaf: Option<&Leaf>) -> (f64, u64) {
        let (mut cpu, mut memory) = (0.0, self.memory_peak_bytes);
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            let seconds = |time: nix::sys::time::TimeVal| {
                Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default())
                    + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
            };
            cpu = (seconds(usage.user_time()) + seconds(usage.system_time())).as_secs_f64();
            // The largest of its processes, in KiB.
            let largest = u64::try_from(usage.max_rss()).unwrap_or_default() * 1_024;
            memory = memory.max(largest);
        }
        let exact = leaf.and_then(Leaf::cpu_time).filter(|time| !time.is_zero());
        let cpu = exact.map_or(cpu, |time| time.as_secs_f64());
        (cpu, leaf.and_then(Leaf::memory_peak_bytes).unwrap_or(memory))
    }

    /// Whether the kernel ended it for lack of memory: its group says so; without one, it was
    /// killed and the host had to kill something meanwhile.
    pub fn was_out_of_memory(&self, leaf: Option<&Leaf>, was_killed: bool) -> bool {
        leaf.is_some_and(|leaf| leaf.oom_kills() > 0)
            || (was_killed && host_oom_kills() > self.host_oom_kills)
    }
}

fn host_oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    count.unwrap_or_default()
}

//! Which process is meant, also after its end.

use std::{fs, time::Duration};

use serde::{Deserialize, Serialize};

use super::tree::Stat;
use crate::clock;

/// Whatever it counts in itself, the kernel tells programs its times in hundredths of a second.
const TICK_MS: u64 = 10;

/// Names a process for good: a pid alone may be given out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its id.
    pub pid: i32,
    start_ticks: u64,
    boot_id: String,
}

impl ProcessRecord {
    /// The process that has this id now; `None` if there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_ticks: Stat::read(pid)?.start_ticks, boot_id: boot_id() })
    }

    /// Whether it is still there. A zombie is not: it does nothing any more.
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && Stat::read(self.pid)
                .is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// How long it is there already; `None` if it is not.
    pub fn age(&self) -> Option<Duration> {
        let start = Duration::from_millis(self.start_ticks.saturating_mul(TICK_MS));
        self.is_alive().then(|| clock::since_boot().saturating_sub(start))
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

//! What a tree of processes holds and has used by now.

use std::{fs, time::Duration};

use super::tree::{Stat, children_of};

const PAGE_BYTES: u64 = 4_096;

/// Main memory, and time on cores since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Held now. What processes share counts for each, where no control group tells.
    pub memory_bytes: u64,
    /// Also of children that have ended.
    pub cpu_time: Duration,
}

/// Of all that descends from a process; of the process too, if `with_itself`.
pub fn load_of_tree(root: i32, with_itself: bool) -> Load {
    let (mut memory_bytes, mut ticks) = (0, 0_u64);
    for pid in children_of(root).into_iter().chain([root]) {
        let Some(stat) = Stat::read(pid) else { continue };
        ticks = ticks.saturating_add(stat.waited_ticks);
        if pid != root || with_itself {
            ticks = ticks.saturating_add(stat.own_ticks);
            memory_bytes += resident_bytes(pid);
        }
    }
    let ms = ticks.saturating_mul(1_000) / procfs::ticks_per_second().max(1);
    Load { memory_bytes, cpu_time: Duration::from_millis(ms) }
}

/// What a process holds of main memory; 0 if it is not there.
pub fn resident_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or_default() * PAGE_BYTES
}

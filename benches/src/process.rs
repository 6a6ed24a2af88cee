//! What a process has cost so far, as Linux tells it.

use crate::error::BenchError;
use std::{collections::BTreeMap, fs};

/// `sysconf(_SC_CLK_TCK)` is 100 on every Linux that Rust runs on.
const TICK_MS: f64 = 10.0;

/// A line of `/proc/PID/stat`, as far as it matters here.
struct Stat {
    parent: u32,
    /// User and system time.
    own_ticks: f64,
    /// That of children which have ended and were waited for.
    ended_ticks: f64,
}

/// User and system time of a process.
pub fn cpu_ms(pid: u32) -> Result<f64, BenchError> {
    Ok(stat(pid)?.own_ticks * TICK_MS)
}

/// That of a process and of all its descendants, also those which have ended: PostgreSQL has a
/// process for every session.
pub fn tree_cpu_ms(root: u32) -> Result<f64, BenchError> {
    let top = stat(root)?;
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // One that ends meanwhile is among those that its parent has waited for at the next look.
        if let Some(pid) = pid
            && let Ok(stat) = stat(pid)
        {
            stats.insert(pid, stat);
        }
    }
    let mut ticks = top.own_ticks + top.ended_ticks;
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in stats.iter().filter(|(_, stat)| stat.parent == parent) {
            ticks += stat.own_ticks + stat.ended_ticks;
            parents.push(*pid);
        }
    }
    Ok(ticks * TICK_MS)
}

/// Memory that a process has in use.
pub fn resident_bytes(pid: u32) -> Result<f64, BenchError> {
    status_bytes(pid, "VmRSS")
}

/// The most memory that a process has had in use.
pub fn memory_peak_bytes(pid: u32) -> Result<f64, BenchError> {
    status_bytes(pid, "VmHWM")
}

fn status_bytes(pid: u32, name: &str) -> Result<f64, BenchError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1_024.0)
        .ok_or_else(|| BenchError::Other(format!("/proc/{pid}/status names no {name}")))
}

fn stat(pid: u32) -> Result<Stat, BenchError> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let sum = |first: usize| Some(number(first)? + number(first + 1)?);
    let parsed = || {
        let (own_ticks, ended_ticks) = (sum(12)?, sum(14)?);
        Some(Stat { parent: fields.get(2)?.parse().ok()?, own_ticks, ended_ticks })
    };
    parsed().ok_or_else(|| BenchError::Other(format!("/proc/{pid}/stat reads {text}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_this_process_has_cost_is_found_also_from_its_parent() {
        let pid = std::process::id();
        let mut sum = 0_u64;
        while cpu_ms(pid).unwrap() < 20.0 {
            sum = (0..100_000_u64).fold(sum, u64::wrapping_add);
        }
        let parent = stat(pid).unwrap().parent;
        assert!(tree_cpu_ms(parent).unwrap() >= 20.0, "{sum}");
        assert!(resident_bytes(pid).unwrap() > 1e6);
    }
}

//! What a broker costs that nobody calls.

use crate::{clock::Stopwatch, error::BenchError, record::Records, target::Target};
use std::{fs, time::Duration};

/// `sysconf(_SC_CLK_TCK)` on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    let pid = target.broker_pid();
    // What starting costs is not idling.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, watch) = (cpu_ticks(pid)?, Stopwatch::start());
    tokio::time::sleep(span).await;
    let busy = (cpu_ticks(pid)? - before) / TICKS_PER_SECOND;
    records.add("idle broker, of one core", "%", 100.0 * busy / watch.elapsed().as_secs_f64())?;
    records.add("idle broker, resident memory", "MB", resident_mb(pid)?)
}

/// User and system time of a process.
fn cpu_ticks(pid: u32) -> Result<f64, BenchError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    Ok(fields.take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum())
}

fn resident_mb(pid: u32) -> Result<f64, BenchError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1_024.0 / 1e6)
        .ok_or_else(|| BenchError::Other(format!("/proc/{pid}/status names no VmRSS")))
}

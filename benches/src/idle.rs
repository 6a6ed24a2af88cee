//! What a broker costs that nobody calls.

use crate::{clock::Stopwatch, error::BenchError, process, record::Records, target::Target};
use std::time::Duration;

pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    let pid = target.broker_pids()[0];
    // What starting costs is not idling.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, watch) = (process::cpu_ms(pid)?, Stopwatch::start());
    tokio::time::sleep(span).await;
    let busy_ms = process::cpu_ms(pid)? - before;
    let share = busy_ms / 1_000.0 / watch.elapsed().as_secs_f64();
    records.add("idle broker, of one core", "%", 100.0 * share)?;
    records.add("idle broker, resident memory", "MB", process::resident_bytes(pid)? / 1e6)
}

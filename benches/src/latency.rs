//! From sending CreateTask to the start of the handler, one task at a time, on an idle broker.
//!
//! Two moments are taken: when a parked worker has the task in hand, and when the broker has noted
//! that it started. A handler begins between the two, depending on the SDK.

use crate::{
    clock::Stopwatch, creates::request, drain::Worker, error::BenchError, record::Records,
    target::Target,
};
use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinHandle};

const TASK_TYPE: &str = "bench_latency";
const WARM_UP: usize = 20;
/// Between two tasks, so that the worker has parked again: low load is what is measured.
const PAUSE: Duration = Duration::from_millis(5);
const DIGITS: u8 = 3;

pub async fn measure(
    target: &Target,
    samples: usize,
    records: &mut Records,
) -> Result<(), BenchError> {
    let mut owner = target.owner().await?;
    owner.create_task(request(TASK_TYPE)).await?;
    let worker = Worker::register(target, TASK_TYPE, 1).await?;
    let (begun, mut begins) = mpsc::channel(1);
    let working = tokio::spawn(work(worker, begun));
    if begins.recv().await.is_none() {
        return why_it_ended(working).await;
    }
    let (mut in_hand, mut started) = (histogram()?, histogram()?);
    for sample in 0..samples + WARM_UP {
        tokio::time::sleep(PAUSE).await;
        let sent = Stopwatch::start();
        // The answer to the create and the start race each other; both are awaited.
        let created = owner.create_task(request(TASK_TYPE));
        let (created, start) = tokio::join!(created, begins.recv());
        created?;
        let Some(start) = start else { return why_it_ended(working).await };
        if sample >= WARM_UP {
            let since_hand = start.in_hand.elapsed();
            let since_start = start.started.elapsed();
            let now = sent.elapsed();
            add(&mut in_hand, now.saturating_sub(since_hand))?;
            add(&mut started, now.saturating_sub(since_start))?;
        }
    }
    working.abort();
    for (name, histogram) in [("task in the worker's hand", in_hand), ("start noted", started)] {
        for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
            let ms = histogram.value_at_quantile(quantile) as f64 / 1_000.0;
            records.add(&format!("create to {name}, {label}"), "ms", ms)?;
        }
    }
    Ok(())
}

/// The worker ended before its time.
async fn why_it_ended(working: JoinHandle<Result<(), BenchError>>) -> Result<(), BenchError> {
    working.await.map_err(|error| BenchError::Other(error.to_string()))??;
    Err(BenchError::Other("the worker of the latency measurement ended".to_owned()))
}

/// When a task was in the worker's hand, and when its start was noted.
struct Begin {
    in_hand: Stopwatch,
    started: Stopwatch,
}

async fn work(worker: Worker, begun: mpsc::Sender<Begin>) -> Result<(), BenchError> {
    loop {
        let leases = worker.acquire(1).await?;
        let in_hand = Stopwatch::start();
        let Some(lease) = leases.into_iter().next() else { continue };
        worker.start(vec![lease.clone()]).await?;
        let started = Stopwatch::start();
        worker.clone().complete(lease).await?;
        if begun.send(Begin { in_hand, started }).await.is_err() {
            return Ok(());
        }
    }
}

/// Microseconds, up to a minute.
fn histogram() -> Result<Histogram<u64>, BenchError> {
    Histogram::new_with_bounds(1, 60_000_000, DIGITS)
        .map_err(|error| BenchError::Other(error.to_string()))
}

fn add(histogram: &mut Histogram<u64>, span: Duration) -> Result<(), BenchError> {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
    histogram.record(micros).map_err(|error| BenchError::Other(error.to_string()))
}

//! From sending CreateTask to the start of the handler, one task at a time, on an idle broker.
//!
//! Two moments are taken: when a parked worker has the task in hand, and when the broker has noted
//! that it started. A handler begins between the two, depending on the SDK.

use crate::{
    clock::Stopwatch, error::BenchError, latencies::Latencies, load::shape::Shape, record::Records,
    target::Target, worker::Worker,
};
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinHandle};

const TASK_TYPE: &str = "bench_latency";
const WARM_UP: usize = 20;
/// Between two tasks, so that the worker has parked again: low load is what is measured.
const PAUSE: Duration = Duration::from_millis(5);

pub async fn measure(
    target: &Target,
    samples: usize,
    records: &mut Records,
) -> Result<(), BenchError> {
    let mut owner = target.owner()?;
    owner.create_task(Shape::SMALL.request(TASK_TYPE)).await?;
    let worker = Worker::register(target.brokers().worker(0)?, &[TASK_TYPE], 1).await?;
    let (begun, mut begins) = mpsc::channel(1);
    let working = tokio::spawn(work(worker, begun));
    if begins.recv().await.is_none() {
        return why_it_ended(working).await;
    }
    let (mut in_hand, mut started) = (Latencies::default(), Latencies::default());
    for sample in 0..samples + WARM_UP {
        tokio::time::sleep(PAUSE).await;
        let sent = Stopwatch::start();
        // The answer to the create and the start race each other; both are awaited.
        let created = owner.create_task(Shape::SMALL.request(TASK_TYPE));
        let (created, start) = tokio::join!(created, begins.recv());
        created?;
        let Some(start) = start else { return why_it_ended(working).await };
        if sample >= WARM_UP {
            let since_hand = start.in_hand.elapsed();
            let since_start = start.started.elapsed();
            let now = sent.elapsed();
            in_hand.record(now.saturating_sub(since_hand));
            started.record(now.saturating_sub(since_start));
        }
    }
    working.abort();
    for (name, latencies) in [("task in the worker's hand", in_hand), ("start noted", started)] {
        for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
            let ms = latencies.quantile_ms(quantile);
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

//! awa on PostgreSQL: the four scenarios and one line of JSON.

mod queue;

use queue::{Error, Queue};
use serde_json::{Value, json};
use std::{
    env,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

const BATCH: usize = 500;
/// Before the samples that count: connections, prepared statements, caches.
const WARM_UP: usize = 20;
/// Between two tasks, so that the worker is idle again.
const PAUSE: Duration = Duration::from_millis(20);

fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let in_flight = number("IN_FLIGHT", 64);
    let queue = Arc::new(Queue::open(number("PAYLOAD_BYTES", 256)).await?);
    let scenario = env::args().nth(1).unwrap_or_default();
    let mut result = match scenario.as_str() {
        "enqueue_one" => rate(&queue, in_flight, 1).await?,
        "enqueue_bulk" => rate(&queue, in_flight, BATCH).await?,
        "drain" => drain(&queue, number("COUNT", 20_000)).await?,
        "latency" => latency(&queue, number("SAMPLES", 200)).await?,
        _ => return Err("usage: awa-bench enqueue_one|enqueue_bulk|drain|latency".into()),
    };
    result["scenario"] = scenario.into();
    println!("{result}");
    Ok(())
}

/// One task by the call for one, more by the call for many.
async fn enqueue(queue: &Queue, tasks: usize) -> Result<(), Error> {
    if tasks == 1 { queue.enqueue_one().await } else { queue.enqueue_bulk(tasks).await }
}

/// Repeats a call of so many tasks in each caller; the first of each opens its connection and does
/// not count.
async fn rate(queue: &Arc<Queue>, in_flight: usize, tasks: usize) -> Result<Value, Error> {
    queue.make_lanes().await?;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let queue = Arc::clone(queue);
        callers.spawn(async move { enqueue(&queue, tasks).await });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let count = Arc::new(AtomicU64::new(0));
    let span = Duration::from_secs(number("SECONDS", 5) as u64);
    let start = Instant::now();
    for _ in 0..in_flight {
        let (queue, count) = (Arc::clone(queue), Arc::clone(&count));
        callers.spawn(async move {
            while start.elapsed() < span {
                enqueue(&queue, tasks).await?;
                count.fetch_add(tasks as u64, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let count = count.load(Ordering::Relaxed);
    Ok(json!({ "count": count, "seconds": start.elapsed().as_secs_f64() }))
}

async fn drain(queue: &Queue, count: usize) -> Result<Value, Error> {
    let mut left = count;
    while left > 0 {
        let tasks = left.min(BATCH);
        queue.enqueue_bulk(tasks).await?;
        left -= tasks;
    }
    let start = Instant::now();
    let worker = queue.work(|| ()).await?;
    worker.completed(count).await?;
    Ok(json!({ "count": count, "seconds": start.elapsed().as_secs_f64() }))
}

async fn latency(queue: &Queue, count: usize) -> Result<Value, Error> {
    let (begins, mut begun) = mpsc::unbounded_channel();
    let _worker = queue
        .work(move || {
            let _ = begins.send(Instant::now());
        })
        .await?;
    let mut samples = Vec::new();
    for sample in 0..count + WARM_UP {
        tokio::time::sleep(PAUSE).await;
        let sent = Instant::now();
        queue.enqueue_one().await?;
        let begun = begun.recv().await.ok_or("the worker ended")?;
        if sample >= WARM_UP {
            samples.push((begun - sent).as_secs_f64() * 1_000.0);
        }
    }
    samples.sort_by(f64::total_cmp);
    let quantile = |part: f64| {
        let rank = (part * samples.len() as f64).ceil() as usize;
        samples[rank.max(1) - 1]
    };
    Ok(json!({ "p50_ms": quantile(0.5), "p99_ms": quantile(0.99), "samples": samples.len() }))
}

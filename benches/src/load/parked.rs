//! Workers that wait for tasks: what they cost a broker and its database while nothing happens, and
//! on demand how fast as many drain a backlog.

use super::{
    backlog,
    deployment::Deployment,
    drain::work_until_reached,
    progress::Progress,
    report::{Measured, More, Report, rounded},
    scenario::Settings,
    usage::{Usage, settle, used_since},
};
use crate::{clock::Stopwatch, error::BenchError, process::resident_bytes, worker::Worker};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const TASK_TYPE: &str = "load_workers";
/// Registrations at once.
const REGISTERING: usize = 64;

/// Idle workers parked in AcquireTasks
#[derive(Args, Debug, Serialize)]
pub struct WorkersArgs {
    /// Workers, each a session; they share a few connections
    #[arg(long, value_name = "W", default_value_t = 500)]
    workers: usize,
    /// Afterwards, have the same workers drain --count tasks
    #[arg(long)]
    busy: bool,
    /// With --busy: tasks that are drained
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    count: u64,
    /// With --busy: tasks that a worker takes at once
    #[arg(long, value_name = "S", default_value_t = 10)]
    slots: u16,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

impl WorkersArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let types = [TASK_TYPE.to_owned()];
        on.make_types(&types, self.settings.shape.context_bytes).await?;
        let alone = memory(on)?;
        let workers = self.register(on, &types).await?;
        let mut parked = JoinSet::new();
        for (number, worker) in workers.iter().enumerate() {
            // They registered all at once, but a window must not meet all of their heartbeats or
            // none.
            let share = number as f64 / self.workers as f64;
            parked.spawn(park(worker.clone(), share));
        }
        tokio::select! {
            measured = self.idle(on, alone, report) => measured?,
            Some(ended) = parked.join_next() => {
                ended.map_err(|error| BenchError::Other(error.to_string()))??;
            }
        }
        // Workers that are parked would take the backlog while it is made.
        parked.shutdown().await;
        if self.busy { self.drain(on, &types, workers, report).await } else { Ok(()) }
    }

    async fn register(&self, on: &Deployment, types: &[String]) -> Result<Vec<Worker>, BenchError> {
        let slots = i32::from(self.slots);
        let clients = on.brokers.workers(self.workers)?;
        let registering = clients.into_iter().map(|client| Worker::register(client, types, slots));
        stream::iter(registering).buffer_unordered(REGISTERING).try_collect().await
    }

    /// Looks on for the span of the measurement.
    async fn idle(
        &self,
        on: &Deployment,
        alone: Option<f64>,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        let span = self.settings.time.span();
        settle(on).await;
        tokio::time::sleep(span.from).await;
        let (before, watch) = (on.usage().await?, Stopwatch::start());
        tokio::time::sleep(span.length()).await;
        let elapsed = watch.elapsed();
        let used = on.usage().await?.since(before);
        let mut more = self.shares(used, elapsed);
        if let (Some(alone), Some(parked)) = (alone, memory(on)?) {
            more.insert("broker_memory_bytes", parked.into());
            let each = (parked - alone) / self.workers.max(1) as f64;
            more.insert("broker_memory_bytes_per_worker", rounded(each).into());
        }
        let count = self.workers as u64;
        let idle = Measured::without_latencies("idle workers", count, elapsed);
        report.add(Measured { is_rate: false, more, ..idle })
    }

    fn shares(&self, used: Usage, elapsed: Duration) -> More {
        let mut more = More::new();
        let percent = |cpu_ms: f64| cpu_ms / 10.0 / elapsed.as_secs_f64();
        if let Some(cpu_ms) = used.broker_cpu_ms {
            more.insert("broker_cpu_percent", rounded(percent(cpu_ms)).into());
            let each = percent(cpu_ms) / self.workers.max(1) as f64;
            // Thousandths of a percent are too coarse for one worker.
            more.insert("broker_cpu_percent_per_worker", Value::from((each * 1e6).round() / 1e6));
        }
        if let Some(cpu_ms) = used.database_cpu_ms {
            more.insert("database_cpu_percent", rounded(percent(cpu_ms)).into());
        }
        let statements = used.work.map_or(Value::from("not counted"), |work| {
            rounded(work.statements as f64 / elapsed.as_secs_f64()).into()
        });
        more.insert("database_statements_per_second", statements);
        more
    }

    async fn drain(
        &self,
        on: &Deployment,
        types: &[String],
        workers: Vec<Worker>,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        backlog::make(&on.brokers, types, self.count, self.settings.shape).await?;
        let (before, progress) = (on.usage().await?, Progress::until(self.count));
        let (started, mut working) = (Stopwatch::start(), JoinSet::new());
        for worker in workers {
            let (progress, slots) = (Arc::clone(&progress), i32::from(self.slots));
            working.spawn(async move { work_until_reached(&worker, slots, &progress).await });
        }
        progress.wait().await?;
        let elapsed = started.elapsed();
        while let Some(ended) = working.join_next().await {
            ended.map_err(|error| BenchError::Other(error.to_string()))??;
        }
        let count = progress.done();
        let more = used_since(on, before).await?.per_task(count);
        report.add(Measured { more, ..Measured::without_latencies("drain", count, elapsed) })
    }
}

/// What a worker of the SDK has open while it has nothing to do.
async fn park(worker: Worker, share: f64) -> Result<(), BenchError> {
    let acquiring = async {
        loop {
            worker.acquire(1).await?;
        }
    };
    tokio::select! {
        ended = acquiring => ended,
        ended = worker.beat_from(share) => ended,
        ended = worker.follow_commands() => ended,
    }
}

/// Memory of the brokers, where they are ours.
fn memory(on: &Deployment) -> Result<Option<f64>, BenchError> {
    let pids = on.broker_pids();
    let sizes = pids.into_iter().map(resident_bytes).collect::<Result<Vec<_>, _>>()?;
    Ok((!sizes.is_empty()).then(|| sizes.iter().sum()))
}

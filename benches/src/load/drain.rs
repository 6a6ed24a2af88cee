//! From PENDING to SUCCEEDED: tasks that do nothing are made ahead, then workers work them off.

use super::{
    backlog,
    deployment::Deployment,
    fleet::{Fleet, Witness},
    progress::Progress,
    report::{Measured, Report},
    scenario::Settings,
    usage::used_since,
};
use crate::{brokers::Brokers, clock::Stopwatch, error::BenchError, worker::Worker};
use asyncflow_sdk::v1::LeasedTask;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Tasks that are made for each second of `--seconds`, where no number is given.
const TASKS_PER_SECOND: u64 = 5_000;

/// Workers drain tasks of one type
#[derive(Args, Debug, Serialize)]
pub struct DrainArgs {
    #[command(flatten)]
    #[serde(flatten)]
    plan: DrainPlan,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// Workers drain tasks of several types
#[derive(Args, Debug, Serialize)]
pub struct TypesArgs {
    /// Task types
    #[arg(long, value_name = "T", default_value_t = 10)]
    types: usize,
    #[command(flatten)]
    #[serde(flatten)]
    plan: DrainPlan,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// Who drains how much.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct DrainPlan {
    /// Tasks that are made first; else 5,000 for each of --seconds
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Workers, each a session on a connection of its own
    #[arg(long, value_name = "W", default_value_t = 4)]
    pub workers: usize,
    /// Tasks that a worker runs at once
    #[arg(long, value_name = "S", default_value_t = 250)]
    pub slots: u16,
    /// What the workers are
    #[arg(long, value_enum, default_value = "sdk")]
    pub by: By,
}

/// What a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The runtime of the Rust SDK with a handler that does nothing
    Sdk,
    /// The bare calls: acquire, start, complete each, and again
    Protocol,
}

impl DrainArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let types = ["load_drain".to_owned()];
        self.plan.run(on, &types, &self.settings, report).await
    }
}

impl TypesArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let types: Vec<_> = (1..=self.types.max(1)).map(|n| format!("load_type_{n}")).collect();
        self.plan.run(on, &types, &self.settings, report).await
    }
}

impl DrainPlan {
    /// Makes the tasks and has them drained.
    pub async fn run(
        self,
        on: &Deployment,
        types: &[String],
        settings: &Settings,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        let count = self.count.unwrap_or(settings.time.seconds * TASKS_PER_SECOND);
        on.make_types(types, settings.shape.context_bytes).await?;
        backlog::make(&on.brokers, types, count, settings.shape).await?;
        let before = on.usage().await?;
        let drained = self.drain(&on.brokers, types, count).await?;
        let more = used_since(on, before).await?.per_task(drained.count);
        let Drained { count, elapsed } = drained;
        report.add(Measured { more, ..Measured::without_latencies("drain", count, elapsed) })
    }

    /// Works off `count` tasks that are there.
    pub async fn drain(
        self,
        brokers: &Brokers,
        types: &[String],
        count: u64,
    ) -> Result<Drained, BenchError> {
        let (progress, started) = (Progress::until(count), Stopwatch::start());
        let finished = match self.by {
            By::Sdk => self.by_sdk(brokers, types, &progress, started).await?,
            By::Protocol => self.by_protocol(brokers, types, &progress, started).await?,
        };
        Ok(Drained { count: progress.done(), elapsed: finished })
    }

    async fn by_sdk(
        self,
        brokers: &Brokers,
        types: &[String],
        progress: &Arc<Progress>,
        started: Stopwatch,
    ) -> Result<Duration, BenchError> {
        let mut fleet = Fleet::start(brokers, self.workers, self.slots.into(), types, progress);
        fleet.during(progress.wait()).await?;
        let elapsed = started.elapsed();
        fleet.stop().await?;
        Ok(elapsed)
    }

    async fn by_protocol(
        self,
        brokers: &Brokers,
        types: &[String],
        progress: &Arc<Progress>,
        started: Stopwatch,
    ) -> Result<Duration, BenchError> {
        let mut working = JoinSet::new();
        for number in 0..self.workers {
            let (client, types) = (brokers.worker(number)?, types.to_vec());
            let (progress, slots) = (Arc::clone(progress), i32::from(self.slots));
            working.spawn(async move {
                let worker = Worker::register(client, &types, slots).await?;
                work_until_reached(&worker, slots, &progress).await
            });
        }
        let all = async {
            while let Some(ended) = working.join_next().await {
                ended.map_err(|error| BenchError::Other(error.to_string()))??;
            }
            Ok::<(), BenchError>(())
        };
        let waited = progress.wait();
        tokio::pin!(waited);
        tokio::select! {
            ended = all => ended?,
            stuck = &mut waited => stuck?,
        }
        Ok(started.elapsed())
    }
}

/// What was drained, up to the last acknowledged completion.
#[derive(Clone, Copy, Debug)]
pub struct Drained {
    pub count: u64,
    pub elapsed: Duration,
}

impl Witness for Progress {
    fn confirmed(&self, _task: &LeasedTask) {
        self.add(1);
    }
}

/// Acquires, starts and completes until all tasks of the run are done.
pub async fn work_until_reached(
    worker: &Worker,
    slots: i32,
    progress: &Progress,
) -> Result<(), BenchError> {
    let working = async {
        loop {
            progress.add(worker.clone().work_off(slots).await?);
        }
    };
    tokio::select! {
        ended = working => ended,
        beaten = worker.beat() => beaten,
        () = progress.reached().cancelled() => Ok(()),
    }
}

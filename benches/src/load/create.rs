//! Creates one by one and in batches; each answered after its commit.

use super::{
    closed_loop,
    deployment::Deployment,
    open_loop::{self, Pace},
    report::{Measured, Report},
    scenario::{Settings, TimeArgs},
    shape::Shape,
    tally::{Counts, Tally},
};
use crate::{
    brokers::{Brokers, Owner, in_time},
    clock::Stopwatch,
    error::BenchError,
};
use asyncflow_proto::v1::BatchCreateTasksRequest;
use clap::Args;
use serde::Serialize;

/// The type of the tasks that are created here; nobody works on them.
pub const TASK_TYPE: &str = "load_create";

/// CreateTask, call by call: as many as there can be, or at a fixed rate
#[derive(Args, Debug, Serialize)]
pub struct CreateArgs {
    /// Callers with one call at a time each (closed loop)
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
    /// Calls per second on a fixed schedule instead (open loop): latencies count from when a call
    /// was due
    #[arg(long, value_name = "R", value_parser = super::scenario::positive)]
    rate: Option<f64>,
    /// With --rate: unanswered calls at most
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    in_flight_max: usize,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// BatchCreateTasks
#[derive(Args, Debug, Serialize)]
pub struct BatchArgs {
    /// Tasks of one call, up to 1,000
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch: usize,
    /// Callers with one call at a time each
    #[arg(long, value_name = "N", default_value_t = 4)]
    in_flight: usize,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

impl CreateArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let Settings { shape, time, .. } = self.settings;
        on.make_types(&[TASK_TYPE.to_owned()], shape.context_bytes).await?;
        let counts = match self.rate {
            None => one_by_one(&on.brokers, self.in_flight, shape, time).await?,
            Some(per_second) => {
                let pace = Pace { per_second, in_flight_max: self.in_flight_max };
                paced(&on.brokers, pace, shape, time).await?
            }
        };
        report.add(Measured::of("create", &counts))
    }
}

impl BatchArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let Settings { shape, time, .. } = self.settings;
        on.make_types(&[TASK_TYPE.to_owned()], shape.context_bytes).await?;
        let counts = batches(&on.brokers, self.batch, self.in_flight, shape, time).await?;
        report.add(Measured::of("batch", &counts))
    }
}

/// CreateTask with `in_flight` callers.
pub async fn one_by_one(
    brokers: &Brokers,
    in_flight: usize,
    shape: Shape,
    time: TimeArgs,
) -> Result<Counts, BenchError> {
    let owners = brokers.owners(in_flight)?;
    let tally = Tally::new(Stopwatch::start(), time.span());
    closed_loop::run(owners, &tally, move |owner| create(owner, shape)).await;
    Ok(tally.finish())
}

/// CreateTask on a schedule.
async fn paced(
    brokers: &Brokers,
    pace: Pace,
    shape: Shape,
    time: TimeArgs,
) -> Result<Counts, BenchError> {
    let owners = brokers.owners(pace.in_flight_max)?;
    let tally = Tally::new(Stopwatch::start(), time.span());
    let elapsed = open_loop::run(pace, &owners, &tally, |owner, _| create(owner, shape)).await;
    Ok(tally.finish_in(elapsed))
}

/// BatchCreateTasks with `in_flight` callers.
pub async fn batches(
    brokers: &Brokers,
    batch: usize,
    in_flight: usize,
    shape: Shape,
    time: TimeArgs,
) -> Result<Counts, BenchError> {
    let owners = brokers.owners(in_flight)?;
    let tally = Tally::new(Stopwatch::start(), time.span());
    let step = move |mut owner: Owner| async move {
        let requests = (0..batch).map(|_| shape.request(TASK_TYPE)).collect();
        owner.batch_create_tasks(in_time(BatchCreateTasksRequest { requests })).await?;
        Ok(batch as u64)
    };
    closed_loop::run(owners, &tally, step).await;
    Ok(tally.finish())
}

pub async fn create(mut owner: Owner, shape: Shape) -> Result<u64, BenchError> {
    owner.create_task(in_time(shape.request(TASK_TYPE))).await?;
    Ok(1)
}

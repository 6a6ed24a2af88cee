//! From sending CreateTask to the begin of the handler, with an idle worker of the SDK.

use super::{
    deployment::Deployment,
    fleet::{Fleet, Witness},
    open_loop::{self, Pace},
    report::{Measured, Report},
    scenario::Settings,
    shape::{Shape, Stamp},
    tally::Tally,
};
use crate::{
    brokers::{Owner, in_time},
    clock::Stopwatch,
    error::BenchError,
};
use asyncflow_sdk::v1::LeasedTask;
use clap::Args;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const TASK_TYPE: &str = "load_start";
/// Creates that are not answered at most; at low load there are two at once.
const IN_FLIGHT_MAX: usize = 100;
/// How long after the last create a handler may begin.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

/// From create to the begin of the handler at low load
#[derive(Args, Debug, Serialize)]
pub struct StartArgs {
    /// Creates per second on a fixed schedule
    #[arg(long, value_name = "R", default_value_t = 50.0,
          value_parser = super::scenario::positive)]
    rate: f64,
    /// Tasks that the worker runs at once
    #[arg(long, value_name = "S", default_value_t = 10)]
    slots: usize,
    /// Priority of every second task: it stands ahead of all that was claimed before
    #[arg(long, value_name = "P", default_value_t = 0)]
    urgent: i32,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// Notes when handlers begin.
struct Begins {
    run: u64,
    tally: Arc<Tally>,
}

impl Witness for Begins {
    fn begun(&self, task: &LeasedTask) {
        if let Some(due) = Stamp::due_of(task, self.run) {
            let now = self.tally.clock().elapsed();
            self.tally.answered(due, now.saturating_sub(due), 1);
        }
    }
}

impl StartArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let Settings { shape, time, .. } = self.settings;
        let types = [TASK_TYPE.to_owned()];
        on.make_types(&types, shape.context_bytes).await?;
        let (clock, run) = (Stopwatch::start(), Stamp::new_run());
        let begins = Arc::new(Begins { run, tally: Tally::new(clock, time.span()) });
        let creates = Tally::new(clock, time.span());
        let mut fleet = Fleet::start(&on.brokers, 1, self.slots, &types, &begins);
        let owners = on.brokers.owners(1)?;
        let pace = Pace { per_second: self.rate, in_flight_max: IN_FLIGHT_MAX };
        let count = AtomicU64::new(0);
        let working = async {
            let step = |owner, due| {
                let is_second = count.fetch_add(1, Ordering::Relaxed) % 2 == 1;
                let priority = if is_second { self.urgent } else { 0 };
                create(owner, TASK_TYPE, Shape { priority, ..shape }, Stamp { run, due })
            };
            open_loop::run(pace, &owners, &creates, step).await;
            until_as_many(&begins.tally, creates.count()).await;
            Ok(())
        };
        fleet.during(working).await?;
        fleet.stop().await?;
        let created = creates.finish();
        let mut begun = begins.tally.finish();
        begun.errors.merge(&created.errors);
        for _ in begun.count..created.count {
            begun.errors.add("NOT_BEGUN", "a task was created, but its handler never began");
        }
        report.add(Measured::of("start", &begun))
    }
}

/// CreateTask with the moment at which it was due in its payload.
pub async fn create(
    mut owner: Owner,
    task_type: &'static str,
    shape: Shape,
    stamp: Stamp,
) -> Result<u64, BenchError> {
    owner.create_task(in_time(shape.stamped(task_type, stamp))).await?;
    Ok(1)
}

/// Waits until `tally` has as many, or for as long as there is patience.
pub async fn until_as_many(tally: &Tally, count: u64) {
    let waiting = Stopwatch::start();
    while tally.count() < count && waiting.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
}

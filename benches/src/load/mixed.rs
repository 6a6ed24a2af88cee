//! Creates at a fixed rate while workers work them off, as in production; on demand under a
//! snapshot that somebody holds. What that costs grows with time, so latencies are also told by
//! slices of the run, and after it how fast as many workers drain a backlog.

use super::{
    deployment::Deployment,
    drain::{By, DrainPlan},
    fleet::{Fleet, Witness},
    open_loop::{self, Pace},
    report::{Measured, More, Report, rounded},
    scenario::Settings,
    shape::Stamp,
    start::{create, until_as_many},
    tally::{Counts, Tally},
};
use crate::{clock::Stopwatch, error::BenchError};
use asyncflow_sdk::v1::LeasedTask;
use asyncflow_store::testing::{HeldSnapshot, hold_snapshot};
use clap::Args;
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const TASK_TYPE: &str = "load_mixed";
const SLICE: Duration = Duration::from_secs(10);

/// Creates at a fixed rate while workers drain them
#[derive(Args, Debug, Serialize)]
pub struct MixedArgs {
    /// Creates per second on a fixed schedule
    #[arg(long, value_name = "R", default_value_t = 500.0,
          value_parser = super::scenario::positive)]
    rate: f64,
    /// Creates that are not answered at most
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    in_flight_max: usize,
    /// Workers of the SDK
    #[arg(long, value_name = "W", default_value_t = 4)]
    workers: usize,
    /// Tasks that a worker runs at once
    #[arg(long, value_name = "S", default_value_t = 100)]
    slots: u16,
    /// Tasks that are drained afterwards; 0 = none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    count: u64,
    /// Hold a snapshot of the database for the whole run (not on SQLite)
    #[arg(long)]
    hold_snapshot: bool,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// Notes what becomes of the tasks of a run.
struct Lives {
    run: u64,
    starts: Arc<Tally>,
    completions: Arc<Tally>,
    /// When each task in hand was due, and when its handler was done.
    in_hand: Mutex<HashMap<String, (Duration, Duration)>>,
}

impl Lives {
    fn with<T>(&self, run: impl FnOnce(&mut HashMap<String, (Duration, Duration)>) -> T) -> T {
        run(&mut self.in_hand.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Witness for Lives {
    fn begun(&self, task: &LeasedTask) {
        let Some(due) = Stamp::due_of(task, self.run) else { return };
        let now = self.starts.clock().elapsed();
        self.starts.answered(due, now.saturating_sub(due), 1);
        self.with(|in_hand| in_hand.insert(id(task), (due, now)));
    }

    fn confirmed(&self, task: &LeasedTask) {
        if let Some((due, done)) = self.with(|in_hand| in_hand.remove(&id(task))) {
            let now = self.completions.clock().elapsed();
            self.completions.answered(due, now.saturating_sub(done), 1);
        }
    }
}

fn id(task: &LeasedTask) -> String {
    task.lease.as_ref().map(|lease| lease.task_id.clone()).unwrap_or_default()
}

impl MixedArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let types = [TASK_TYPE.to_owned()];
        on.make_types(&types, self.settings.shape.context_bytes).await?;
        let held = self.snapshot(on).await?;
        let measured = self.load(on, &types).await?;
        for (name, counts) in &measured {
            report.add(Measured::of(name, counts))?;
        }
        for (name, counts) in &measured {
            slices(name, counts, report)?;
        }
        if self.count > 0 {
            let (workers, slots, count) = (self.workers, self.slots, Some(self.count));
            let plan = DrainPlan { count, workers, slots, by: By::Sdk };
            plan.run(on, &types, &self.settings, report).await?;
        }
        drop(held);
        Ok(())
    }

    async fn snapshot(&self, on: &Deployment) -> Result<Option<HeldSnapshot>, BenchError> {
        if !self.hold_snapshot {
            return Ok(None);
        }
        let store = on
            .store()
            .ok_or_else(|| BenchError::Other("--hold-snapshot needs --database-url".to_owned()))?;
        Ok(Some(hold_snapshot(store).await?))
    }

    /// Create, start and completion, in this order.
    async fn load(
        &self,
        on: &Deployment,
        types: &[String],
    ) -> Result<[(&'static str, Counts); 3], BenchError> {
        let Settings { shape, time, .. } = self.settings;
        let (clock, run) = (Stopwatch::start(), Stamp::new_run());
        let tally = || Tally::sliced(clock, time.span(), SLICE);
        let (creates, starts, completions) = (tally(), tally(), tally());
        let lives = Arc::new(Lives {
            run,
            starts: Arc::clone(&starts),
            completions: Arc::clone(&completions),
            in_hand: Mutex::default(),
        });
        let mut fleet = Fleet::start(&on.brokers, self.workers, self.slots.into(), types, &lives);
        let owners = on.brokers.owners(self.in_flight_max)?;
        let pace = Pace { per_second: self.rate, in_flight_max: self.in_flight_max };
        let working = async {
            let step = |owner, due| create(owner, TASK_TYPE, shape, Stamp { run, due });
            let elapsed = open_loop::run(pace, &owners, &creates, step).await;
            until_as_many(&completions, creates.count()).await;
            Ok((elapsed, clock.elapsed().saturating_sub(time.span().from)))
        };
        let (created_in, done_in) = fleet.during(working).await?;
        fleet.stop().await?;
        let created = creates.finish_in(created_in);
        let mut completed = completions.finish_in(done_in);
        for _ in completed.count..created.count {
            completed.errors.add("NOT_COMPLETED", "a task was created, but never completed");
        }
        let started = starts.finish_in(done_in);
        Ok([("create", created), ("start", started), ("complete", completed)])
    }
}

/// A line for each slice; the errors are in the line of the whole.
fn slices(name: &str, counts: &Counts, report: &mut Report) -> Result<(), BenchError> {
    for (number, latencies) in counts.slices.iter().enumerate() {
        let from = SLICE.as_secs_f64() * number as f64;
        let last = number + 1 == counts.slices.len();
        let rest = counts.elapsed.as_secs_f64() - from;
        let seconds = if last { rest } else { SLICE.as_secs_f64() };
        let elapsed = Duration::from_secs_f64(seconds.max(0.001));
        let measure = format!("{name}, slice");
        report.add(Measured {
            latencies: Some(latencies),
            more: More::from([("slice_from_seconds", rounded(from).into())]),
            ..Measured::without_latencies(&measure, latencies.count(), elapsed)
        })?;
    }
    Ok(())
}

//! More creates than a broker can do: it has to refuse the rest, do nearly as many as without them,
//! and lose no lease.

use super::{
    create::{TASK_TYPE, create, one_by_one},
    deployment::Deployment,
    open_loop::{self, Pace},
    report::{Measured, Report},
    scenario::Settings,
    tally::Tally,
};
use crate::{
    brokers::{Brokers, in_time},
    clock::Stopwatch,
    error::BenchError,
    worker::Worker,
};
use asyncflow_proto::v1::{BatchCreateTasksRequest, Lease, LeaseVerdict};
use clap::Args;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The type of the tasks whose leases are held meanwhile.
const HELD_TYPE: &str = "load_held";
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// CreateTask at several times the rate that there can be, beside a worker that holds leases
#[derive(Args, Debug, Serialize)]
pub struct OverloadArgs {
    /// So many times as many calls per second as could be answered
    #[arg(long, value_name = "X", default_value_t = 5.0,
        value_parser = super::scenario::positive)]
    factor: f64,
    /// Callers with one call at a time each, by which that is found out
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
    /// Unanswered calls at most, more than a broker takes
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    in_flight_max: usize,
    /// Leases that are held meanwhile, renewed each second, and completed in the end
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(i32).range(1..=1_000))]
    leases: i32,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

impl OverloadArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let Settings { shape, time, .. } = self.settings;
        on.make_types(&[TASK_TYPE, HELD_TYPE].map(str::to_owned), shape.context_bytes).await?;
        let most = one_by_one(&on.brokers, self.in_flight, shape, time).await?.without_errors()?;
        let mut sustained = Measured::of("sustained", &most);
        sustained.more.extend(on.memory_peak()?.map(|peak| ("memory_peak_bytes", peak.into())));
        report.add(sustained)?;

        let held = self.hold(&on.brokers).await?;
        let owners = on.brokers.owners(self.in_flight_max)?;
        let tally = Tally::new(Stopwatch::start(), time.span());
        let pace =
            Pace { per_second: self.factor * most.per_second(), in_flight_max: self.in_flight_max };
        let told = Arc::new(AtomicU64::new(0));
        let step = |owner, _| {
            let told = Arc::clone(&told);
            async move {
                let answer = create(owner, shape).await;
                if let Err(BenchError::Call(error)) = &answer
                    && error.retry_delay().is_some()
                {
                    told.fetch_add(1, Ordering::Relaxed);
                }
                answer
            }
        };
        let loaded = open_loop::run(pace, &owners, &tally, step);
        let (elapsed, beats) = held.during(loaded).await;
        let lost = held.complete().await;

        let mut counts = tally.finish_in(elapsed);
        let shed = counts.errors.by_code.remove("RESOURCE_EXHAUSTED").unwrap_or_default();
        let never_sent = counts.errors.by_code.remove("NOT_SENT").unwrap_or_default();
        if counts.errors.total() == 0 {
            counts.errors.first = None;
        }
        let mut measured = Measured::of("overload", &counts);
        measured.more.extend([
            ("offered_per_second", pace.per_second.into()),
            ("share_of_sustained", (counts.per_second() / most.per_second()).into()),
            ("shed", shed.into()),
            ("never_sent", never_sent.into()),
            ("told_when_to_come_back", told.load(Ordering::Relaxed).into()),
            ("heartbeats", beats.into()),
            ("leases", self.leases.into()),
            ("leases_lost", lost.into()),
        ]);
        measured.more.extend(on.memory_peak()?.map(|peak| ("memory_peak_bytes", peak.into())));
        report.add(measured)
    }

    /// A worker with its leases.
    async fn hold(&self, brokers: &Brokers) -> Result<Held, BenchError> {
        let mut owner = brokers.owner(0)?;
        let one = || self.settings.shape.request(HELD_TYPE);
        let requests = (0..self.leases).map(|_| one()).collect();
        owner.batch_create_tasks(in_time(BatchCreateTasksRequest { requests })).await?;
        let worker = Worker::register(brokers.worker(0)?, &[HELD_TYPE], self.leases).await?;
        let mut leases = Vec::new();
        while leases.len() < self.leases.unsigned_abs() as usize {
            leases.extend(worker.acquire(self.leases).await?);
        }
        worker.start(leases.clone()).await?;
        Ok(Held { worker, leases })
    }
}

struct Held {
    worker: Worker,
    leases: Vec<Lease>,
}

impl Held {
    /// Renews the leases while the load lasts; with its answer, how many heartbeats were answered
    /// well, with each lease in force. One that was not ends them.
    async fn during<T>(&self, load: impl Future<Output = T>) -> (T, u64) {
        let beats = AtomicU64::new(0);
        let beating = async {
            loop {
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
                let told = self.worker.beat_with(self.leases.clone()).await;
                let is_well = told.is_ok_and(|verdicts| {
                    verdicts.iter().all(|verdict| *verdict == LeaseVerdict::Ok)
                });
                if !is_well {
                    return std::future::pending::<()>().await;
                }
                beats.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            answer = load => (answer, beats.load(Ordering::Relaxed)),
            () = beating => unreachable!("it is pending"),
        }
    }

    /// How many of them could not be completed.
    async fn complete(self) -> u64 {
        let mut lost = 0;
        for lease in self.leases {
            lost += u64::from(self.worker.clone().complete(lease).await.is_err());
        }
        lost
    }
}

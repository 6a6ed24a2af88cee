//! The measured load: creates and claims at a fixed rate, each claim followed by start and
//! complete, all single calls through the broker.
//!
//! ```text
//!   tick ──▶ CreateTask                        tick ──▶ AcquireTasks(1) ─▶ StartTasks ─▶ Complete
//!   latency from the tick, so that a broker that stands still is not asked less often
//! ```
//!
//! Some tasks are created ahead, so that a claim finds one without waiting for a create.

use super::{
    rows::Rows,
    sample::{Call, Sample, Samples},
};
use crate::{
    brokers::Owner,
    clock::Stopwatch,
    error::BenchError,
    load::{
        open_loop::{self, Pace},
        shape::Shape,
        tally::Tally,
    },
    span::Span,
    target::Target,
    worker::Worker,
};
use asyncflow_proto::v1::Lease;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinHandle};

const WORKERS: usize = 4;
const WORKER_SLOTS: i32 = 5_000;
const CONNECTIONS: usize = 4;
/// Failures that are told in full; the others are counted.
const TOLD_MAX: usize = 5;

/// What the stream's calls write down.
struct Log {
    clock: Stopwatch,
    samples: Mutex<Samples>,
    rows: Rows,
    failures: Mutex<Failures>,
}

/// Calls that were refused or not answered.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    pub count: u64,
    pub told: Vec<String>,
}

/// A running stream. Dropping it ends it.
pub struct Stream {
    log: Arc<Log>,
    running: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Creates `ahead` tasks of the type and begins to create and claim `per_second` of each.
    pub async fn start(
        target: &Target,
        task_type: &'static str,
        per_second: u32,
        clock: Stopwatch,
        rows: Rows,
    ) -> Result<Self, BenchError> {
        let log =
            Arc::new(Log { clock, samples: Mutex::default(), rows, failures: Mutex::default() });
        let owners = target.brokers().owners(CONNECTIONS)?;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(
                Worker::register(target.brokers().worker(0)?, &[task_type], WORKER_SLOTS).await?,
            );
        }
        for _ in 0..per_second {
            owners[0].clone().create_task(Shape::SMALL.request(task_type)).await?;
            log.rows.add(1);
        }
        let mut running = Vec::new();
        for worker in &workers {
            running.push(tokio::spawn(beat(worker.clone(), Arc::clone(&log))));
        }
        running.push(tokio::spawn(paced(
            per_second,
            Arc::clone(&log),
            owners,
            move |owner, tick| create(owner, task_type, tick),
        )));
        running.push(tokio::spawn(paced(per_second, Arc::clone(&log), workers, live)));
        Ok(Self { log, running })
    }

    /// Ends it; what was measured, and what went wrong.
    pub fn finish(self) -> (Samples, Failures) {
        let samples = self.log.samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failures = self.log.failures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (samples, failures)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

/// A call's place in the schedule.
#[derive(Clone)]
struct Tick {
    due: Duration,
    log: Arc<Log>,
}

impl Tick {
    /// Notes an answer to what was due at this tick.
    fn answered(&self, call: Call) {
        let sample = Sample { call, due: self.due, done: self.log.clock.elapsed() };
        self.log.samples.lock().unwrap_or_else(PoisonError::into_inner).0.push(sample);
    }

    /// The same for what is due from now on.
    fn next(self) -> Self {
        Self { due: self.log.clock.elapsed(), ..self }
    }
}

impl Log {
    fn failed(&self, error: &BenchError) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.count += 1;
        if failures.told.len() < TOLD_MAX {
            failures.told.push(error.to_string());
        }
    }
}

/// Begins `per_second` steps, whether or not those before have ended, until it is dropped.
async fn paced<C, F>(
    per_second: u32,
    log: Arc<Log>,
    callers: Vec<C>,
    step: impl Fn(C, Tick) -> F + Send + 'static,
) where
    C: Clone + Send + 'static,
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let pace = Pace { per_second: per_second.max(1).into(), in_flight_max: Semaphore::MAX_PERMITS };
    let (began, tally) = (log.clock.elapsed(), Tally::new(Stopwatch::start(), Span::FOR_EVER));
    let step = |caller, due| {
        let tick = Tick { due: began + due, log: Arc::clone(&log) };
        let work = step(caller, tick.clone());
        async move {
            if let Err(error) = work.await {
                tick.log.failed(&error);
            }
            Ok(1)
        }
    };
    open_loop::run(pace, &callers, &tally, step).await;
}

async fn create(mut owner: Owner, task_type: &'static str, tick: Tick) -> Result<(), BenchError> {
    owner.create_task(Shape::SMALL.request(task_type)).await?;
    tick.log.rows.add(1);
    tick.answered(Call::Create);
    Ok(())
}

/// From the claim to the end.
async fn live(worker: Worker, tick: Tick) -> Result<(), BenchError> {
    let leases: Vec<Lease> = worker.acquire(1).await?;
    if leases.is_empty() {
        return Err(BenchError::Other("a claim waited 30 s and found no task".to_owned()));
    }
    tick.answered(Call::Acquire);
    let tick = tick.next();
    worker.start(leases.clone()).await?;
    tick.answered(Call::Start);
    let tick = tick.next();
    for lease in leases {
        worker.clone().complete(lease).await?;
    }
    tick.answered(Call::Complete);
    Ok(())
}

/// Keeps a session alive; the leases are too short to be renewed.
async fn beat(worker: Worker, log: Arc<Log>) {
    while let Err(error) = worker.beat().await {
        log.failed(&error);
    }
}

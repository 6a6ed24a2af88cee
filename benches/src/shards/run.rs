//! The run on one database, from an empty one to the last drop.

use super::{
    Plan,
    ballast::Ballast,
    burst::Burst,
    drop,
    figures::{self, Drop, Figures, Window},
    marks::marks,
    reads,
    registry::Registry,
    rows::Rows,
    stream::Stream,
};
use crate::{
    clock::Stopwatch,
    error::BenchError,
    span::Span,
    target::{Plan as Servers, Target},
};
use asyncflow_core::id::TypeName;
use asyncflow_proto::v1::{CreateTaskTypeRequest, TaskType};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const TASK_TYPE: &str = "bench";
/// Before and after a drop, with the ballast at work.
const AROUND: Duration = Duration::from_secs(5);
/// The oldest shards, of those that were closed.
const DROPS_MAX: usize = 2;

/// What is at work during a run.
struct Run<'a> {
    plan: &'a Plan,
    target: Target,
    task_type: TypeName,
    clock: Stopwatch,
    rows: Rows,
    registry: Registry,
    ballast: Arc<Ballast>,
    burst: Burst,
    stream: Stream,
    /// When the ballast was written.
    filled: Vec<Span>,
}

/// A window of which only the latencies are missing: they are read when the run is over.
struct Open {
    span: Span,
    window: Window,
}

/// What was measured along the way.
struct Measured {
    windows: Vec<Open>,
    reads: Vec<reads::Read>,
    drops: Vec<Drop>,
    cut_short: bool,
}

/// Fills one database, measures at every mark, and drops the oldest shards.
pub async fn run(plan: &Plan) -> Result<Figures, BenchError> {
    let mut run = Run::start(plan).await?;
    let measured = run.measure().await;
    // A failed call has its reason in the log of the program that was called.
    let measured = measured.map_err(|error| {
        let logs = run.target.log_tails();
        BenchError::Other(format!("{error}\n{logs}"))
    })?;
    Ok(run.conclude(measured))
}

impl<'a> Run<'a> {
    async fn start(plan: &'a Plan) -> Result<Self, BenchError> {
        let mut target = Target::start(Servers::one_broker(plan.kind, None)).await?;
        target.start_governor().await?;
        let task_type = TaskType {
            name: TASK_TYPE.to_owned(),
            shard_max_rows: i64::try_from(plan.shard_max_rows).unwrap_or(i64::MAX),
            ..TaskType::default()
        };
        let request = CreateTaskTypeRequest { task_type: Some(task_type) };
        target.owner()?.create_task_type(request).await?;
        let name = TypeName::new(TASK_TYPE).map_err(|e| BenchError::Other(e.to_string()))?;
        let (clock, rows) = (Stopwatch::start(), Rows::default());
        let url = target.database_url().to_owned();
        Ok(Self {
            plan,
            clock,
            stream: Stream::start(&target, TASK_TYPE, plan.rate, clock, rows.clone()).await?,
            registry: Registry::watch(&url, &name, clock, rows.clone()).await?,
            ballast: Arc::new(Ballast::connect(&url, &name, rows.clone()).await?),
            burst: Burst::prepare(&target, TASK_TYPE, rows.clone()).await?,
            target,
            task_type: name,
            rows,
            filled: Vec::new(),
        })
    }

    async fn measure(&mut self) -> Result<Measured, BenchError> {
        let mut windows = Vec::new();
        for mark in marks(self.plan.rows, self.plan.step, self.plan.shard_max_rows) {
            let ballast_per_second = self.fill(mark).await?;
            windows.push(self.window(ballast_per_second).await?);
            if self.clock.elapsed() > self.plan.time_max {
                break;
            }
        }
        let cut_short = self.rows.now() < self.plan.rows;
        let reads = reads::measure(&self.target, &self.task_type).await?;
        let mut drops = Vec::new();
        for event in self.registry.events().iter().take(DROPS_MAX) {
            drops.push(self.drop(event.shard - 1).await?);
        }
        Ok(Measured { windows, reads, drops, cut_short })
    }

    /// Brings the rows up to `mark`, or for as long as there is time; rows per second.
    async fn fill(&mut self, mark: u64) -> Result<f64, BenchError> {
        let (rows, clock, time_max) = (self.rows.clone(), self.clock, self.plan.time_max);
        let (from, before) = (clock.elapsed(), rows.now());
        self.ballast.fill_until(move || rows.now() >= mark || clock.elapsed() > time_max).await?;
        let span = Span { from, to: clock.elapsed() };
        self.filled.push(span);
        let written = self.rows.now().saturating_sub(before);
        Ok(written as f64 / span.length().as_secs_f64().max(f64::EPSILON))
    }

    /// The stream alone, then a burst.
    async fn window(&mut self, ballast_per_second: f64) -> Result<Open, BenchError> {
        self.ballast.settle().await?;
        tokio::time::sleep(self.plan.settle).await;
        let (from, rows) = (self.clock.elapsed(), self.rows.now());
        tokio::time::sleep(self.plan.window).await;
        let span = Span { from, to: self.clock.elapsed() };
        let claims_per_second = self.burst.per_second().await?;
        let name = self.plan.kind.name();
        eprintln!(
            "{name:9} {rows} rows after {:.0} s; ballast {ballast_per_second:.0}/s, burst \
             {claims_per_second:.0}/s",
            span.to.as_secs_f64()
        );
        let window = Window { rows, latencies: Vec::new(), claims_per_second, ballast_per_second };
        Ok(Open { span, window })
    }

    /// Drops a shard while the ballast is written.
    async fn drop(&mut self, shard: i32) -> Result<Drop, BenchError> {
        let from = self.clock.elapsed();
        let (ballast, over) = (Arc::clone(&self.ballast), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&over);
        let filling = tokio::spawn(async move {
            ballast.fill_until(move || is_over.load(Ordering::Relaxed)).await
        });
        tokio::time::sleep(AROUND).await;
        let dropped = drop::drop(&self.target, &self.registry, TASK_TYPE, shard).await;
        tokio::time::sleep(AROUND).await;
        over.store(true, Ordering::Relaxed);
        filling.await.map_err(|error| BenchError::Other(error.to_string()))??;
        self.filled.push(Span { from, to: self.clock.elapsed() });
        dropped
    }

    fn conclude(self, measured: Measured) -> Figures {
        let Measured { windows, reads, drops, cut_short } = measured;
        let took = self.clock.elapsed();
        let events = self.registry.events();
        let (samples, failures) = self.stream.finish();
        let windows = windows.into_iter().map(|Open { span, window }| Window {
            latencies: figures::quantiles(&samples, span),
            ..window
        });
        Figures {
            plan: self.plan.clone(),
            windows: windows.collect(),
            changes: figures::changes(&samples, &events, took),
            elsewhere: figures::elsewhere(&samples, &self.filled, &events),
            worst: figures::worst(&samples, Span { from: Duration::ZERO, to: took }),
            calls: samples.0.len(),
            failures,
            reads,
            drops,
            cut_short,
            took,
        }
    }
}

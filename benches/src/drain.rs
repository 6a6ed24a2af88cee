//! From PENDING to SUCCEEDED through the worker's protocol: acquire and start in batches, complete
//! one by one, as a worker with many short tasks does.

use crate::{
    error::BenchError,
    load::{
        backlog,
        drain::{By, DrainPlan},
        shape::Shape,
    },
    record::Records,
    target::Target,
};
use std::time::Duration;

const WORKERS: usize = 4;
const SLOTS: u16 = 100;
const TASKS_PER_SECOND: u64 = 8_000;

/// Works off tasks that are made for it, about as many as take `span`.
pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    let (types, count) = (["bench_drain".to_owned()], span.as_secs() * TASKS_PER_SECOND);
    backlog::make(target.brokers(), &types, count, Shape::SMALL).await?;
    let plan = DrainPlan { count: None, workers: WORKERS, slots: SLOTS, by: By::Protocol };
    let drained = plan.drain(target.brokers(), &types, count).await?;
    let measure = format!("acquire, start, complete by {WORKERS} workers of {SLOTS} slots");
    records.add(&measure, "tasks/s", drained.count as f64 / drained.elapsed.as_secs_f64())
}

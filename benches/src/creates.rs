//! Creates per second, each answered after its commit.

use crate::{
    error::BenchError,
    load::{
        create::{TASK_TYPE, batches, one_by_one},
        scenario::TimeArgs,
        shape::Shape,
    },
    record::Records,
    target::Target,
};
use std::time::Duration;

const IN_FLIGHT: usize = 256;
const BATCH: usize = 500;
const BATCHES_IN_FLIGHT: usize = 4;

pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    let (brokers, shape) = (target.brokers(), Shape::SMALL);
    // The first create makes the tables of its type.
    target.owner()?.create_task(shape.request(TASK_TYPE)).await?;
    let time = TimeArgs { seconds: span.as_secs(), warm_up_seconds: 0 };
    for in_flight in [1, IN_FLIGHT] {
        let counts = one_by_one(brokers, in_flight, shape, time).await?.without_errors()?;
        let measure = format!("CreateTask, {in_flight} in flight");
        records.add(&measure, "tasks/s", counts.per_second())?;
    }
    let counts = batches(brokers, BATCH, BATCHES_IN_FLIGHT, shape, time).await?.without_errors()?;
    let measure = format!("BatchCreateTasks of {BATCH}, {BATCHES_IN_FLIGHT} in flight");
    records.add(&measure, "tasks/s", counts.per_second())
}

//! Tasks that wait for workers: made ahead, and not timed.

use super::shape::Shape;
use crate::{
    brokers::{Brokers, Owner, in_time},
    error::BenchError,
};
use asyncflow_proto::v1::BatchCreateTasksRequest;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::task::JoinSet;

const BATCH: u64 = 500;
const IN_FLIGHT: usize = 4;

/// Creates `count` tasks, of the types in turn.
pub async fn make(
    brokers: &Brokers,
    types: &[String],
    count: u64,
    shape: Shape,
) -> Result<(), BenchError> {
    let (types, next) = (Arc::new(types.to_vec()), Arc::new(AtomicU64::new(0)));
    let mut making = JoinSet::new();
    for owner in brokers.owners(IN_FLIGHT)? {
        making.spawn(batches(owner, Arc::clone(&types), Arc::clone(&next), count, shape));
    }
    while let Some(ended) = making.join_next().await {
        ended.map_err(|error| BenchError::Other(error.to_string()))??;
    }
    Ok(())
}

async fn batches(
    mut owner: Owner,
    types: Arc<Vec<String>>,
    next: Arc<AtomicU64>,
    count: u64,
    shape: Shape,
) -> Result<(), BenchError> {
    loop {
        let from = next.fetch_add(BATCH, Ordering::Relaxed);
        if from >= count {
            return Ok(());
        }
        let numbers = from..count.min(from + BATCH);
        let task_types = types.iter().cycle().skip(from as usize % types.len());
        let requests = numbers.zip(task_types).map(|(_, name)| shape.request(name)).collect();
        owner.batch_create_tasks(in_time(BatchCreateTasksRequest { requests })).await?;
    }
}

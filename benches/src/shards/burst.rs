//! How many tasks per second can be claimed and completed: a pile of them, worked off at once.

use super::rows::Rows;
use crate::{
    brokers::Owner,
    clock::Stopwatch,
    error::BenchError,
    load::shape::Shape,
    target::Target,
    worker::{SLOTS, Worker},
};
use asyncflow_proto::v1::BatchCreateTasksRequest;
use tokio::task::JoinSet;

const WORKERS: usize = 4;
const BATCHES: u64 = 10;
const BATCH: u64 = 500;

/// Workers with many slots, registered once.
pub struct Burst {
    workers: Vec<Worker>,
    owner: Owner,
    task_type: &'static str,
    rows: Rows,
}

impl Burst {
    pub async fn prepare(
        target: &Target,
        task_type: &'static str,
        rows: Rows,
    ) -> Result<Self, BenchError> {
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push(Worker::register(target.brokers().worker(0)?, &[task_type], SLOTS).await?);
        }
        Ok(Self { workers, owner: target.owner()?, task_type, rows })
    }

    /// Creates the pile, then acquires, starts and completes as many tasks; how many per second.
    pub async fn per_second(&mut self) -> Result<f64, BenchError> {
        let task_type = self.task_type;
        for _ in 0..BATCHES {
            let requests = (0..BATCH).map(|_| Shape::SMALL.request(task_type)).collect();
            self.owner.batch_create_tasks(BatchCreateTasksRequest { requests }).await?;
            self.rows.add(BATCH);
        }
        let started = Stopwatch::start();
        let mut working = JoinSet::new();
        for worker in &self.workers {
            let worker = worker.clone();
            working.spawn(async move {
                let share = BATCHES * BATCH / WORKERS as u64;
                let mut done = 0;
                while done < share {
                    // No more than its share, or the stream would run out of tasks.
                    let most = i32::try_from(share - done).unwrap_or(SLOTS).min(SLOTS);
                    done += worker.clone().work_off(most).await?;
                }
                Ok::<u64, BenchError>(done)
            });
        }
        let mut done = 0;
        while let Some(ended) = working.join_next().await {
            done += ended.map_err(|error| BenchError::Other(error.to_string()))??;
        }
        Ok(done as f64 / started.elapsed().as_secs_f64().max(f64::EPSILON))
    }
}

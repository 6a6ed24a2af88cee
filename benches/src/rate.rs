//! Calls per second with a fixed number of callers, each with one call in flight.

use crate::{clock::Stopwatch, error::BenchError};
use std::time::Duration;
use tokio::task::JoinSet;

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub count: u64,
    pub elapsed: Duration,
}

impl Rate {
    /// Per second.
    pub fn per_second(self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Repeats `step` in each caller for `span`; a step says how much it has done.
pub async fn measure<C, F>(
    callers: Vec<C>,
    span: Duration,
    step: impl Fn(C) -> F + Send + Clone + 'static,
) -> Result<Rate, BenchError>
where
    C: Clone + Send + 'static,
    F: Future<Output = Result<u64, BenchError>> + Send,
{
    let started = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for caller in callers {
        let step = step.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while started.elapsed() < span {
                done += step(caller.clone()).await?;
            }
            Ok::<u64, BenchError>(done)
        });
    }
    let mut count = 0;
    while let Some(ended) = tasks.join_next().await {
        count += ended.map_err(|error| BenchError::Other(error.to_string()))??;
    }
    Ok(Rate { count, elapsed: started.elapsed() })
}

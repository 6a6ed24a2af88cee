//! A fixed number of callers, each with one call at a time: how much there is to be had. A target
//! that stalls is asked less often meanwhile, so the latencies say little about stalls.

use super::tally::Tally;
use crate::error::BenchError;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// After an error, so that a target which refuses at once is not asked in a circle.
const PAUSE: Duration = Duration::from_millis(10);

/// Repeats `step` in each caller until the tally's span is over; a step says how much it has done.
/// What counts is what was answered within the span.
pub async fn run<C, F>(
    callers: Vec<C>,
    tally: &Arc<Tally>,
    step: impl Fn(C) -> F + Send + Clone + 'static,
) where
    C: Clone + Send + 'static,
    F: Future<Output = Result<u64, BenchError>> + Send,
{
    let mut running = JoinSet::new();
    for caller in callers {
        let (step, tally) = (step.clone(), Arc::clone(tally));
        running.spawn(async move {
            let (clock, end) = (tally.clock(), tally.span().to);
            loop {
                let sent = clock.elapsed();
                if sent >= end {
                    return;
                }
                match step(caller.clone()).await {
                    Ok(count) => {
                        let done = clock.elapsed();
                        tally.answered(done, done.saturating_sub(sent), count);
                    }
                    Err(error) => {
                        tally.failed(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }
    running.join_all().await;
}

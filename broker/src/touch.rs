//! Group commit of "this worker was heard of".

use asyncflow_store::{Store, StoreError, Touch};
use tokio_util::task::TaskTracker;

use crate::{
    batch::{Batch, BatchError, Bounds},
    config::LimitsConfig,
    error::RpcError,
};

/// What a touch weighs.
const TOUCH_BYTES: usize = 32;

/// Where heartbeats of workers join the batch that is open now; clones share it.
#[derive(Clone)]
pub struct Touches {
    batch: Batch<Touch, Result<(), StoreError>>,
}

impl Touches {
    pub fn start(store: Store, limits: &LimitsConfig, tracker: &TaskTracker) -> Self {
        let bounds = Bounds {
            name: "touch",
            writers: 1,
            batch_rows_max: limits.batch_rows_max,
            batch_bytes_max: usize::MAX,
            queue_rows_max: limits.queue_rows_max,
            queue_bytes_max: limits.queue_bytes_max,
        };
        let commit = Box::new(move |touches: Vec<Touch>| {
            let store = store.clone();
            Box::pin(async move {
                let outcome = store.touch_workers(&touches).await;
                touches.iter().map(|_| outcome.clone()).collect()
            }) as _
        });
        Self { batch: Batch::start(bounds, commit, tracker) }
    }

    /// Notes that a worker was heard of.
    ///
    /// # Errors
    /// When the queue is full or closed; those of the store.
    pub async fn touch(&self, touch: Touch) -> Result<(), RpcError> {
        let answer = self.batch.submit(vec![touch], TOUCH_BYTES).await?.pop();
        Ok(answer.ok_or(BatchError::Closed)??)
    }

    pub fn close(&self) {
        self.batch.close();
    }
}

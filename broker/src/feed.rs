//! One tail of the change log for everybody in this broker who watches or waits.
//!
//! It runs only while somebody listens, and looks when the log has grown (a wake-up) or slowly.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_store::{ChangeRow, ChangeTail, Store, StoreError, wake::CHANGES};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often it looks when nobody rings.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often it looks while a transaction with an earlier number may still commit.
const HOLE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Gives out the changes of all tasks; clones share it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    rows: broadcast::Sender<Arc<ChangeRow>>,
    /// The last row that was given out; `None` while the tail does not run.
    position: Mutex<Option<i64>>,
    tracker: TaskTracker,
    draining: CancellationToken,
}

/// All rows behind `seq`, in their order.
pub struct Subscription {
    pub seq: i64,
    pub rows: broadcast::Receiver<Arc<ChangeRow>>,
}

impl Feed {
    /// A listener that lags more than `lag_max` rows behind misses some and is told so.
    pub fn new(
        store: Store,
        lag_max: usize,
        tracker: TaskTracker,
        draining: CancellationToken,
    ) -> Self {
        let (rows, _) = broadcast::channel(lag_max);
        let position = Mutex::new(None);
        Self { shared: Arc::new(Shared { store, rows, position, tracker, draining }) }
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// When the end of the log cannot be read.
    pub async fn subscribe(&self) -> Result<Subscription, StoreError> {
        if let Some(subscription) = self.join() {
            return Ok(subscription);
        }
        let seq = self.shared.store.last_change_seq().await?;
        let mut position = self.shared.lock();
        let rows = self.shared.rows.subscribe();
        if let Some(seq) = *position {
            return Ok(Subscription { seq, rows });
        }
        *position = Some(seq);
        self.shared.tracker.spawn(follow(Arc::clone(&self.shared), seq));
        Ok(Subscription { seq, rows })
    }

    fn join(&self) -> Option<Subscription> {
        let position = self.shared.lock();
        let seq = (*position)?;
        Some(Subscription { seq, rows: self.shared.rows.subscribe() })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<i64>> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the tail if nobody listens. Whoever subscribes holds the lock, so nobody is missed.
    fn end_if_alone(&self) -> bool {
        let mut position = self.lock();
        let alone = self.rows.receiver_count() == 0;
        if alone {
            *position = None;
        }
        alone
    }
}

async fn follow(shared: Arc<Shared>, seq: i64) {
    let mut rung = shared.store.wake().subscribe(CHANGES);
    let mut tail = ChangeTail::new(&shared.store, seq);
    loop {
        loop {
            match tail.next().await {
                Ok(Some(row)) => {
                    let mut position = shared.lock();
                    *position = Some(row.seq);
                    // Nobody listens any more: seen below.
                    let _ = shared.rows.send(Arc::new(row));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "reading the change log failed");
                    break;
                }
            }
        }
        if shared.end_if_alone() {
            return;
        }
        let poll = if tail.is_waiting() { HOLE_POLL_INTERVAL } else { POLL_INTERVAL };
        tokio::select! {
            () = shared.draining.cancelled() => {
                *shared.lock() = None;
                return;
            }
            () = rung.rung() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

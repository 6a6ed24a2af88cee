//! Carries operations out, beside the calls: one page at a time, each operation in its turn.
//!
//! It takes those that nobody carries out when it is rung and, because whoever carried one out may
//! be gone, now and then. One page is under way at a time, and after it there is a pause as long as
//! the page took, so that what is done in bulk leaves room for ordinary calls.

use std::{collections::VecDeque, time::Duration};

use asyncflow_store::{Advance, OperationLease, Store, StoreError, wake::OPERATIONS};
use tokio_util::sync::CancellationToken;

use crate::{clock, dispatch::Dispatch};

/// Tasks of one page.
const PAGE_ROWS: u32 = 250;
/// Operations that a broker carries out at once; it comes round to each within its lease.
const HELD_MAX: usize = 16;
/// How long a holder that says nothing is waited for.
const LEASE_TTL_MS: i64 = 10_000;
/// How often it is looked for operations whose holders are gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// The pause after an error of the database.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long what is under way may take when draining begins.
const LINGER: Duration = Duration::from_secs(2);

/// What is said of an operation that cannot go on.
const BROKEN: &str = "it met something that it cannot read; the broker's log says more";

struct Runner {
    store: Store,
    dispatch: Dispatch,
    name: String,
    /// The one whose turn it is stands first.
    held: VecDeque<OperationLease>,
}

/// Carries operations out until `draining` is cancelled; gives back then what is not done.
/// `name` is what others see of this broker.
pub async fn carry_out(
    store: Store,
    dispatch: Dispatch,
    name: String,
    draining: CancellationToken,
) {
    let mut rung = store.wake().subscribe(OPERATIONS);
    let mut runner = Runner { store, dispatch, name, held: VecDeque::new() };
    let mut next_look = clock::now();
    while !draining.is_cancelled() {
        if clock::now() >= next_look {
            runner.take().await;
            next_look = clock::now() + LOOK_INTERVAL;
        }
        // A page is done as a whole or not at all, so that it may be let go.
        let pause = tokio::select! {
            pause = runner.turn() => pause,
            () = linger(&draining) => break,
        };
        let until = pause.map_or(next_look, |pause| clock::now() + pause);
        tokio::select! {
            () = draining.cancelled() => {}
            () = rung.rung() => next_look = clock::now(),
            () = tokio::time::sleep_until(until) => {}
        }
    }
    if tokio::time::timeout(LINGER, runner.give_back()).await.is_err() {
        tracing::warn!("others wait for the leases of operations to end");
    }
}

/// Waits until draining has begun, and then as long as a page may still take.
async fn linger(draining: &CancellationToken) {
    draining.cancelled().await;
    tokio::time::sleep(LINGER).await;
}

impl Runner {
    async fn take(&mut self) {
        let room = HELD_MAX.saturating_sub(self.held.len());
        if room == 0 {
            return;
        }
        match self.store.take_operations(&self.name, LEASE_TTL_MS, room as u32).await {
            Ok(taken) => self.held.extend(taken),
            // An outage is told once, by who watches over the database.
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "looking for operations failed");
            }
            Err(error) => tracing::warn!(%error, "looking for operations failed"),
        }
    }

    /// One page of the operation whose turn it is; answers how long to leave room for others, or
    /// `None` when there is none.
    async fn turn(&mut self) -> Option<Duration> {
        let lease = self.held.pop_front()?;
        let start = clock::now();
        let advance = self.store.advance_operation(&lease, PAGE_ROWS, LEASE_TTL_MS).await;
        let took = clock::now().duration_since(start);
        let pause = took.clamp(PAUSE_MIN, PAUSE_MAX);
        match advance {
            Ok(Advance::On { ready }) => {
                self.dispatch.note(ready.iter());
                self.held.push_back(lease);
                Some(pause)
            }
            Ok(Advance::Over { ready }) => {
                self.dispatch.note(ready.iter());
                Some(pause)
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, operation = %lease.id, "an operation waits");
                self.held.push_back(lease);
                Some(PAUSE_AFTER_ERROR)
            }
            Err(error) => {
                self.give_up(&lease, &error).await;
                Some(PAUSE_AFTER_ERROR)
            }
        }
    }

    async fn give_up(&self, lease: &OperationLease, error: &StoreError) {
        tracing::error!(%error, operation = %lease.id, "an operation is given up");
        if let Err(error) = self.store.fail_operation(lease, BROKEN).await {
            tracing::warn!(%error, operation = %lease.id, "whoever takes it gives it up");
        }
    }

    async fn give_back(&mut self) {
        for lease in self.held.drain(..) {
            if let Err(error) = self.store.release_operation(&lease).await {
                tracing::warn!(%error, operation = %lease.id, "others wait for its lease to end");
            }
        }
    }
}

//! Brokers that share a database keep out of each other's way: one holds the type's lock as long
//! as somebody waits there, and the others claim with locks on the rows.

use std::time::Duration;

use asyncflow_store::{Backend, lock::LockGuard};
use tokio::time::Instant;

use super::Shared;

/// The lock is kept for so long after the last one who waited: to take it costs two commits where
/// it lies in the database.
const LINGER: Duration = Duration::from_secs(1);
/// A broker without the lock claims after a random delay of at most this. PostgreSQL does not
/// suffer from many claimers (`docs/adr/0013-claims.md`).
const DELAY_MS_MAX: u64 = 20;

/// One lane's side of it.
pub struct Turns {
    name: String,
    lock: Option<LockGuard>,
    release_at: Option<Instant>,
}

impl Turns {
    pub fn new(task_type: &str) -> Self {
        Self { name: format!("claim:{task_type}"), lock: None, release_at: None }
    }

    /// Waits for a turn, not long. Whether no other broker claims now; being wrong costs time only.
    pub async fn take(&mut self, shared: &Shared) -> bool {
        self.release_at = None;
        if !shared.settings.shared_database || self.lock.as_ref().is_some_and(LockGuard::is_held) {
            return true;
        }
        let taken = shared.store.locks().try_acquire(&self.name, shared.settings.lock_ttl).await;
        self.lock = taken.ok().flatten();
        if self.lock.is_none() && shared.store.backend() != Backend::Postgres {
            let delay_ms = rand::random_range(0..=DELAY_MS_MAX);
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        self.lock.is_some()
    }

    /// Nobody waits: the lock is given back soon.
    pub fn rest(&mut self, now: Instant) {
        if self.lock.is_some() {
            self.release_at.get_or_insert(now + LINGER);
        }
    }

    /// When [`Self::end`] has to be called, if nobody waits until then.
    pub fn release_at(&self) -> Option<Instant> {
        self.release_at
    }

    /// Gives the lock back when its time has come.
    pub fn end(&mut self, now: Instant) {
        if self.release_at.is_some_and(|at| at <= now) {
            (self.lock, self.release_at) = (None, None);
        }
    }
}

//! Counts the moments at which the database did not answer, whoever met them.
//!
//! A worker whose heartbeats failed because the database was away is not dead. So the reaper asks
//! here whether there was an outage since its last look, also one that began and ended between.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages(Arc<AtomicU64>);

impl Outages {
    /// The database did not answer.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// How often so far; only equality with an earlier count means anything.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

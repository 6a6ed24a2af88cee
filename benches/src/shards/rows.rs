//! How many rows there are, whoever made them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A count that stream, bursts and ballast share.
#[derive(Clone, Debug, Default)]
pub struct Rows(Arc<AtomicU64>);

impl Rows {
    pub fn add(&self, rows: u64) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

//! Reads that every worker makes when it comes: a few at a time.
//!
//! When a broker is back, a thousand workers come at once. A statement that waits for a connection
//! of the pool holds 15 KB, and the allocator keeps what all of them needed together; a call that
//! waits here holds next to nothing.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Looks under way; more would wait for a connection.
const LOOKS_MAX: usize = 16;

/// Whose turn it is; clones share it.
#[derive(Clone)]
pub struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKS_MAX)))
    }
}

impl Lookups {
    /// Waits for its turn and looks. Cancel safe, if `look` is.
    pub async fn take_turn<T>(&self, look: impl Future<Output = T>) -> T {
        // It is never closed, so there always is a turn.
        let _turn = self.0.acquire().await;
        look.await
    }
}

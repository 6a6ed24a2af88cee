//! Locks inside this process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::monotonic;

/// Token and expiry by name.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<String, (String, Instant)>>);

impl Memory {
    fn locks(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take(&self, name: &str, token: &str, ttl: Duration) -> bool {
        let mut locks = self.locks();
        let now = monotonic();
        if locks.get(name).is_some_and(|(_, expiry)| *expiry > now) {
            return false;
        }
        locks.insert(name.to_owned(), (token.to_owned(), now + ttl));
        true
    }

    pub fn renew(&self, name: &str, token: &str, ttl: Duration) -> bool {
        let mut locks = self.locks();
        match locks.get_mut(name) {
            Some((holder, expiry)) if holder == token => {
                *expiry = monotonic() + ttl;
                true
            }
            _ => false,
        }
    }

    pub fn release(&self, name: &str, token: &str) {
        let mut locks = self.locks();
        if locks.get(name).is_some_and(|(holder, _)| holder == token) {
            locks.remove(name);
        }
    }
}

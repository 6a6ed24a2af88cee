//! The leases that this process holds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::stop::{StopNote, StopReason, StopSignal};
use crate::v1::{Lease, LeaseStatus, LeaseVerdict};

type Key = (String, i32);

struct Entry {
    stop: StopSignal,
    /// Outcomes that a former process left to be delivered take no slot.
    takes_slot: bool,
}

/// All leases from acquire until the broker has confirmed their end.
#[derive(Default)]
pub(super) struct Held {
    entries: Mutex<HashMap<Key, Entry>>,
    changed: Notify,
}

fn key(lease: &Lease) -> Key {
    (lease.task_id.clone(), lease.attempt)
}

impl Held {
    fn with<T>(&self, run: impl FnOnce(&mut HashMap<Key, Entry>) -> T) -> T {
        run(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a lease and gives its signal; `None` when it is held already.
    pub fn add(&self, lease: &Lease, takes_slot: bool) -> Option<StopSignal> {
        self.with(|entries| {
            if entries.contains_key(&key(lease)) {
                return None;
            }
            let stop = StopSignal::new();
            entries.insert(key(lease), Entry { stop: stop.clone(), takes_slot });
            Some(stop)
        })
    }

    pub fn remove(&self, lease: &Lease) {
        self.with(|entries| entries.remove(&key(lease)));
        self.changed.notify_waiters();
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.with(|entries| {
            let lease =
                |(task_id, attempt): &Key| Lease { task_id: task_id.clone(), attempt: *attempt };
            entries.keys().map(lease).collect()
        })
    }

    pub fn slots_taken(&self) -> usize {
        self.with(|entries| entries.values().filter(|entry| entry.takes_slot).count())
    }

    /// Waits until fewer than `slots` are taken, and gives the number of free ones. Cancel safe.
    pub async fn free_slots(&self, slots: usize) -> usize {
        loop {
            let changed = self.changed.notified();
            let free = slots.saturating_sub(self.slots_taken());
            if free > 0 {
                return free;
            }
            changed.await;
        }
    }

    /// Raises a reason for one lease.
    pub fn raise(&self, lease: &Lease, reason: StopReason) {
        if let Some(stop) = self.with(|entries| entries.get(&key(lease)).map(|e| e.stop.clone())) {
            stop.raise(reason);
        }
    }

    /// The same with what is said with it.
    pub fn raise_with(&self, lease: &Lease, reason: StopReason, note: StopNote) {
        if let Some(stop) = self.with(|entries| entries.get(&key(lease)).map(|e| e.stop.clone())) {
            stop.raise_noted(reason, Some(note));
        }
    }

    /// Waits until nothing is held. Cancel safe.
    pub async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            if self.with(|entries| entries.is_empty()) {
                return;
            }
            changed.await;
        }
    }

    /// Raises a reason for all leases.
    pub fn raise_all(&self, reason: StopReason) {
        self.with(|entries| entries.values().for_each(|entry| entry.stop.raise(reason)));
    }

    /// Tells all attempts whether heartbeats get through.
    pub fn set_cut_off(&self, cut_off: bool) {
        self.with(|entries| entries.values().for_each(|entry| entry.stop.set_cut_off(cut_off)));
    }

    /// Follows what a broker said about leases.
    pub fn follow(&self, statuses: &[LeaseStatus]) {
        for status in statuses {
            let Some(lease) = &status.lease else { continue };
            match status.verdict() {
                LeaseVerdict::Cancel => self.raise(lease, StopReason::Cancelled),
                LeaseVerdict::Lost => self.raise(lease, StopReason::LeaseLost),
                LeaseVerdict::Ok | LeaseVerdict::Unspecified => {}
            }
        }
    }

    /// After a registration: what was sent in `adopted` and not confirmed is lost.
    pub fn keep_adopted(&self, sent: &[Lease], adopted: &[Lease]) {
        for lease in sent.iter().filter(|lease| !adopted.contains(lease)) {
            tracing::warn!(task_id = lease.task_id, attempt = lease.attempt, "lease not adopted");
            self.raise(lease, StopReason::LeaseLost);
        }
    }
}

//! Load shed: more calls than the server may have at hand are refused at once, not queued. Some
//! places are kept for the calls that make load go away.

use crate::{config::ListenConfig, status};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// What a call is worth under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// Everything else.
    Ordinary,
    /// Heartbeats and completions: refusing them makes more work than it saves.
    Vital,
    /// Long polls and streams, which wait and cost nothing meanwhile.
    Parked,
}

/// The places that calls take; held until the last byte of the answer.
pub(super) struct Gates {
    ordinary: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    parked: Arc<Semaphore>,
    classify: fn(&str) -> CallClass,
}

impl Gates {
    pub(super) fn new(config: &ListenConfig) -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(config.calls_max)),
            reserve: Arc::new(Semaphore::new(config.vital_calls_reserve)),
            parked: Arc::new(Semaphore::new(config.parked_calls_max)),
            classify: |_| CallClass::Ordinary,
        }
    }

    pub(super) fn classify(&mut self, classify: fn(&str) -> CallClass) {
        self.classify = classify;
    }

    /// Takes a place.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when there is none; whoever waits for one would only wait longer.
    pub(super) fn enter(&self, path: &str) -> Result<OwnedSemaphorePermit, Status> {
        let place = |gate: &Arc<Semaphore>| Arc::clone(gate).try_acquire_owned();
        let permit = match (self.classify)(path) {
            CallClass::Ordinary => place(&self.ordinary),
            CallClass::Parked => place(&self.parked),
            CallClass::Vital => place(&self.reserve).or_else(|_| place(&self.ordinary)),
        };
        permit.map_err(|_| status::overloaded())
    }
}

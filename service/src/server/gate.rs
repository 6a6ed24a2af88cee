//! Load shed: a call for which there is no place at hand waits a moment for one, and is refused
//! then. Some places are kept for the calls that make load go away.
//!
//! Why it waits: a refusal costs two thirds of a create, so a server that refuses at once whatever
//! is too much has half of itself left for the rest (ADR 33). One that waits costs nothing, and
//! whoever asks cannot ask again meanwhile.

use crate::{config::ListenConfig, status};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// How long a call waits for a place. As long as a caller who is refused is told to wait.
const WAIT_MAX: Duration = Duration::from_secs(1);

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
    waiting: Semaphore,
    classify: fn(&str) -> CallClass,
}

impl Gates {
    pub(super) fn new(config: &ListenConfig) -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(config.calls_max)),
            reserve: Arc::new(Semaphore::new(config.vital_calls_reserve)),
            parked: Arc::new(Semaphore::new(config.parked_calls_max)),
            waiting: Semaphore::new(config.waiting_calls_max),
            classify: |_| CallClass::Ordinary,
        }
    }

    pub(super) fn classify(&mut self, classify: fn(&str) -> CallClass) {
        self.classify = classify;
    }

    /// Takes a place; the call that came first gets the next one. A caller who goes away
    /// meanwhile leaves the row.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when there is none within a second, or too many wait already; at once
    /// for what parks, whose places are not given back soon.
    pub(super) async fn enter(&self, path: &str) -> Result<OwnedSemaphorePermit, Status> {
        match (self.classify)(path) {
            CallClass::Ordinary => self.place_soon(&self.ordinary).await,
            CallClass::Parked => place_now(&self.parked).ok_or_else(status::overloaded),
            CallClass::Vital => {
                match place_now(&self.reserve).or_else(|| place_now(&self.ordinary)) {
                    Some(place) => Ok(place),
                    None => self.place_soon(&self.reserve).await,
                }
            }
        }
    }

    async fn place_soon(&self, gate: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
        if let Some(place) = place_now(gate) {
            return Ok(place);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| status::overloaded())?;
        match tokio::time::timeout(WAIT_MAX, Arc::clone(gate).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(status::overloaded()),
        }
    }
}

fn place_now(gate: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(gate).try_acquire_owned().ok()
}

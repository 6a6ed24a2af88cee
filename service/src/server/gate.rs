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

/// The places of one class of calls.
struct Gate {
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Gate {
    fn new(places: usize, waiting_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: Semaphore::new(waiting_max) }
    }

    fn place_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    async fn place_soon(&self) -> Result<OwnedSemaphorePermit, Status> {
        if let Some(place) = self.place_now() {
            return Ok(place);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| status::overloaded())?;
        match tokio::time::timeout(WAIT_MAX, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(status::overloaded()),
        }
    }
}

/// The places that calls take; held until the last byte of the answer.
pub(super) struct Gates {
    ordinary: Gate,
    vital: Gate,
    parked: Gate,
    classify: fn(&str) -> CallClass,
}

impl Gates {
    pub(super) fn new(config: &ListenConfig) -> Self {
        Self {
            ordinary: Gate::new(config.calls_max, config.waiting_calls_max),
            vital: Gate::new(config.vital_calls_reserve, config.waiting_calls_max),
            // Such places are not given back soon.
            parked: Gate::new(config.parked_calls_max, 0),
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
    /// RESOURCE_EXHAUSTED when there is none within a second, or too many of its class wait
    /// already; at once for what parks.
    pub(super) async fn enter(&self, path: &str) -> Result<OwnedSemaphorePermit, Status> {
        match (self.classify)(path) {
            CallClass::Ordinary => self.ordinary.place_soon().await,
            CallClass::Parked => self.parked.place_soon().await,
            CallClass::Vital => {
                let now = self.vital.place_now().or_else(|| self.ordinary.place_now());
                match now {
                    Some(place) => Ok(place),
                    None => self.vital.place_soon().await,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use futures::{FutureExt, poll};
    use std::task::Poll;

    fn gates() -> Gates {
        Gates {
            ordinary: Gate::new(1, 1),
            vital: Gate::new(1, 1),
            parked: Gate::new(1, 0),
            classify: |path| match path {
                "vital" => CallClass::Vital,
                "parked" => CallClass::Parked,
                _ => CallClass::Ordinary,
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn vital_calls_wait_though_all_who_may_wait_do() {
        let gates = gates();
        let (_ordinary, vital) =
            (gates.enter("").await.unwrap(), gates.enter("vital").await.unwrap());
        let mut waits = gates.enter("").boxed();
        assert!(matches!(poll!(&mut waits), Poll::Pending));
        assert!(matches!(poll!(gates.enter("").boxed()), Poll::Ready(Err(_))), "one too many");
        let mut beat = gates.enter("vital").boxed();
        assert!(matches!(poll!(&mut beat), Poll::Pending));
        drop(vital);
        drop(beat.await.unwrap());
        // Nobody gives a place back to this one.
        assert_eq!(waits.await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn what_parks_is_refused_at_once_and_who_goes_away_leaves_the_row() {
        let gates = gates();
        let _parked = gates.enter("parked").await.unwrap();
        assert!(matches!(poll!(gates.enter("parked").boxed()), Poll::Ready(Err(_))));
        let ordinary = gates.enter("").await.unwrap();
        let mut gone = gates.enter("").boxed();
        assert!(matches!(poll!(&mut gone), Poll::Pending));
        drop(gone);
        let mut next = gates.enter("").boxed();
        assert!(matches!(poll!(&mut next), Poll::Pending));
        drop(ordinary);
        drop(next.await.unwrap());
    }
}

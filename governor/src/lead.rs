//! Who leads: a lease in the database, with an epoch that fences every write of a term.
//!
//! ```text
//!            try_lead: free or run out                       renew at ttl/3
//!  standby ───────────────────────────▶ leading (epoch + 1) ───────┐
//!     ▲                                   │    ▲                    │
//!     └── lost, not renewed for ttl, ─────┘    └────────────────────┘
//!         resigned (then holds off for 2·ttl, so that another one takes it)
//! ```
//!
//! Nothing depends on this process knowing in time that it lost: the store refuses the old epoch.

use crate::{clock::Clock, outage::Outages};
use asyncflow_service::{config::mask_urls, health::Health};
use asyncflow_store::{LeaderFence, Store, StoreError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Requests to resign that may wait.
const REQUESTS_MAX: usize = 4;

/// One uninterrupted time of leading.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// The store refuses what does not carry the epoch in force.
    pub fence: LeaderFence,
    /// When it began, by this process's monotonic clock.
    pub since: Duration,
    /// Cancelled when the term is over.
    pub ended: CancellationToken,
}

#[derive(Debug, Default)]
struct View {
    term: Option<Term>,
    epoch_seen: i64,
    leader_seen: Option<String>,
}

/// What the other parts know of the lead; clones share it.
#[derive(Clone)]
pub(crate) struct Lead {
    view: watch::Receiver<View>,
    resignations: mpsc::Sender<oneshot::Sender<Result<(), ResignError>>>,
}

/// Why a governor did not resign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResignError {
    #[error("this governor does not lead")]
    NotLeader,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lead {
    /// The term in force, if this governor leads.
    pub fn term(&self) -> Option<Term> {
        self.view.borrow().term.clone()
    }

    /// The epoch under which it leads or last saw somebody lead; 0 before that.
    pub fn epoch_seen(&self) -> i64 {
        self.view.borrow().epoch_seen
    }

    /// Who led when it last looked.
    pub fn leader_seen(&self) -> Option<String> {
        self.view.borrow().leader_seen.clone()
    }

    /// Waits until this governor leads. Cancel safe.
    pub async fn until_leading(&mut self) -> Term {
        loop {
            if let Some(term) = self.view.borrow_and_update().term.clone() {
                return term;
            }
            if self.view.changed().await.is_err() {
                // The candidate has ended, and with it this process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Gives up the lead, and does not stand for it again for two ttls.
    ///
    /// # Errors
    /// When it does not lead, or when the database did not take it.
    pub async fn resign(&self) -> Result<(), ResignError> {
        let (reply, answer) = oneshot::channel();
        self.resignations.send(reply).await.map_err(|_| ResignError::NotLeader)?;
        answer.await.unwrap_or(Err(ResignError::NotLeader))
    }
}

/// Stands for the lead, renews it, gives it back at the end.
pub(crate) struct Candidate {
    pub store: Store,
    /// Unique per process.
    pub holder: String,
    pub ttl: Duration,
    pub clock: Clock,
    pub outages: Outages,
    pub health: Health,
}

impl Candidate {
    /// The shared view, and the future that keeps it true until `stop`.
    pub fn stand(self, stop: CancellationToken) -> (Lead, impl Future<Output = ()> + Send) {
        let (view, watched) = watch::channel(View::default());
        let (resignations, requests) = mpsc::channel(REQUESTS_MAX);
        let lead = Lead { view: watched, resignations };
        let campaign = Campaign {
            candidate: self,
            view,
            renewed: Duration::ZERO,
            hold_off_until: Duration::ZERO,
            last_error: None,
        };
        (lead, campaign.run(requests, stop))
    }
}

struct Campaign {
    candidate: Candidate,
    view: watch::Sender<View>,
    /// When the last renewal that succeeded was sent.
    renewed: Duration,
    /// After a resignation.
    hold_off_until: Duration,
    last_error: Option<String>,
}

impl Campaign {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<oneshot::Sender<Result<(), ResignError>>>,
        stop: CancellationToken,
    ) {
        loop {
            let pause = tokio::select! {
                () = stop.cancelled() => break,
                pause = self.step() => pause,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                Some(reply) = requests.recv() => {
                    // Whoever asked may have gone; the resignation stands.
                    let _ = reply.send(self.resign().await);
                }
            }
        }
        if self.resign().await.is_ok() {
            tracing::info!("gave the lead back");
        }
    }

    /// Looks after the lead once and says how long to wait before the next time.
    async fn step(&mut self) -> Duration {
        let sent = self.candidate.clock.elapsed();
        let leading = self.fence();
        let patience = self.candidate.ttl / 2;
        let outcome = match tokio::time::timeout(patience, self.ask(leading, sent)).await {
            Ok(outcome) => outcome.map_err(|error| mask_urls(&error.to_string())),
            Err(_) => Err("no answer in time".to_owned()),
        };
        match outcome {
            Ok(fence) => {
                self.answered(fence, sent).await;
                jittered(self.candidate.ttl / 3)
            }
            Err(error) => {
                self.unanswered(error).await;
                jittered(self.candidate.ttl / 10)
            }
        }
    }

    async fn ask(
        &self,
        leading: Option<LeaderFence>,
        now: Duration,
    ) -> Result<Option<LeaderFence>, StoreError> {
        let Candidate { store, holder, ttl, .. } = &self.candidate;
        let ttl_ms = crate::clock::millis(*ttl);
        match leading {
            Some(fence) => match store.renew(&fence, ttl_ms).await {
                Ok(()) => Ok(Some(fence)),
                Err(StoreError::NotLeader) => Ok(None),
                Err(error) => Err(error),
            },
            None if now < self.hold_off_until => self.look().await,
            None => match store.try_lead(holder, ttl_ms).await? {
                Some(fence) => Ok(Some(fence)),
                None => self.look().await,
            },
        }
    }

    /// Notes who leads instead of this governor.
    async fn look(&self) -> Result<Option<LeaderFence>, StoreError> {
        if let Some(leader) = self.candidate.store.get_leader().await? {
            self.view.send_modify(|view| {
                view.epoch_seen = leader.epoch;
                view.leader_seen =
                    (leader.expire_time_ms >= leader.now_ms).then_some(leader.holder);
            });
        }
        Ok(None)
    }

    async fn answered(&mut self, fence: Option<LeaderFence>, sent: Duration) {
        if self.last_error.take().is_some() {
            tracing::info!("the database answers again");
        }
        self.candidate.health.set_serving().await;
        match (fence, self.fence()) {
            (Some(fence), None) => self.begin_term(fence),
            (None, Some(_)) => self.end_term("another governor leads"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.renewed = sent;
    }

    async fn unanswered(&mut self, error: String) {
        self.candidate.outages.note();
        self.candidate.health.set_not_serving("the database does not answer").await;
        if self.last_error.as_ref() != Some(&error) {
            tracing::warn!(error, "the lead could not be asked for or renewed");
            self.last_error = Some(error);
        }
        let since = self.candidate.clock.elapsed().saturating_sub(self.renewed);
        if self.fence().is_some() && since >= self.candidate.ttl {
            self.end_term("it could not be renewed in time");
        }
    }

    async fn resign(&mut self) -> Result<(), ResignError> {
        let fence = self.fence().ok_or(ResignError::NotLeader)?;
        self.end_term("resigned");
        let Candidate { store, ttl, clock, .. } = &self.candidate;
        self.hold_off_until = clock.elapsed() + *ttl * 2;
        // Bounded, because the end of the process waits for it; the lease runs out anyway.
        match tokio::time::timeout(*ttl / 2, store.resign(&fence)).await {
            Ok(Ok(()) | Err(StoreError::NotLeader)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Ok(()),
        }
    }

    fn fence(&self) -> Option<LeaderFence> {
        self.view.borrow().term.as_ref().map(|term| term.fence.clone())
    }

    fn begin_term(&self, fence: LeaderFence) {
        tracing::info!(epoch = fence.epoch, "leading");
        metrics::gauge!("asyncflow_governor_leading").set(1.0);
        metrics::gauge!("asyncflow_governor_epoch").set(fence.epoch as f64);
        let (epoch_seen, leader_seen) = (fence.epoch, Some(fence.holder.clone()));
        let since = self.candidate.clock.elapsed();
        let term = Some(Term { fence, since, ended: CancellationToken::new() });
        self.view.send_replace(View { term, epoch_seen, leader_seen });
    }

    fn end_term(&self, reason: &str) {
        let epoch_seen = self.view.borrow().epoch_seen;
        let after = View { term: None, epoch_seen, leader_seen: None };
        if let Some(term) = self.view.send_replace(after).term {
            term.ended.cancel();
            tracing::info!(epoch = term.fence.epoch, reason, "not leading any more");
            metrics::gauge!("asyncflow_governor_leading").set(0.0);
        }
    }
}

/// Up to a fifth less, so that governors do not ask in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.8..=1.0))
}

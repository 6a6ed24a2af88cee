//! The duty loop: one task per duty, so that a slow one holds up nobody; statistics for people.

use crate::{
    clock::{Clock, millis, wall_ms},
    duty::{Duty, DutyContext},
    lead::{Lead, Term},
    outage::Outages,
};
use asyncflow_service::config::mask_urls;
use asyncflow_store::{Store, StoreError};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Requests to run a duty now that may wait.
const REQUESTS_MAX: usize = 16;

/// What a duty has done since this process began.
#[derive(Clone, Debug, Default)]
pub(crate) struct DutyStats {
    pub runs: i64,
    pub errors: i64,
    pub rows: i64,
    pub last_rows: i64,
    /// When the last run ended, and how long it took; Unix ms, ms.
    pub last_run: Option<(i64, i64)>,
    /// `None` when the last run was well.
    pub last_error: Option<String>,
}

/// Why a duty was not run when it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("this governor does not lead")]
    NotLeader,
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Reply = oneshot::Sender<Result<(), RunError>>;

/// One duty as others see it.
pub(crate) struct Entry {
    pub name: &'static str,
    pub description: &'static str,
    pub interval: Duration,
    stats: Mutex<DutyStats>,
    requests: mpsc::Sender<Reply>,
}

impl Entry {
    /// What it has done so far.
    pub fn stats(&self) -> DutyStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs it now, after the run that may be under way.
    ///
    /// # Errors
    /// When this governor does not lead, or the run failed.
    pub async fn run_now(&self) -> Result<(), RunError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| RunError::NotLeader)?;
        answer.await.unwrap_or(Err(RunError::NotLeader))
    }

    fn note(&self, outcome: &Result<u64, StoreError>, took: Duration) {
        metrics::counter!("asyncflow_governor_duty_runs_total", "duty" => self.name).increment(1);
        metrics::histogram!("asyncflow_governor_duty_seconds", "duty" => self.name)
            .record(took.as_secs_f64());
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.runs += 1;
        stats.last_run = Some((wall_ms(), millis(took)));
        match outcome {
            Ok(rows) => {
                metrics::counter!("asyncflow_governor_duty_rows_total", "duty" => self.name)
                    .increment(*rows);
                stats.last_rows = i64::try_from(*rows).unwrap_or(i64::MAX);
                stats.rows = stats.rows.saturating_add(stats.last_rows);
                if stats.last_error.take().is_some() {
                    tracing::info!(duty = self.name, "the duty is well again");
                }
            }
            Err(error) => {
                metrics::counter!("asyncflow_governor_duty_errors_total", "duty" => self.name)
                    .increment(1);
                stats.errors += 1;
                stats.last_rows = 0;
                let error = mask_urls(&error.to_string());
                if stats.last_error.as_ref() != Some(&error) {
                    tracing::warn!(duty = self.name, error, "the duty failed");
                }
                stats.last_error = Some(error);
            }
        }
    }
}

/// All duties as others see them; cheap to clone.
#[derive(Clone)]
pub(crate) struct Roster(Arc<[Arc<Entry>]>);

impl Roster {
    /// In the order in which they are shown.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The duty of this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries().find(|entry| entry.name == name)
    }
}

/// What all duties share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub store: Store,
    pub lead: Lead,
    pub clock: Clock,
    pub outages: Outages,
}

/// Starts a task per duty in `tasks`; they end after `stop`, in the middle of a run if need be.
pub(crate) fn start(
    duties: Vec<Box<dyn Duty>>,
    shared: &Shared,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Roster {
    let mut entries = Vec::with_capacity(duties.len());
    for duty in duties {
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let entry = Arc::new(Entry {
            name: duty.name(),
            description: duty.description(),
            interval: duty.interval(),
            stats: Mutex::default(),
            requests,
        });
        entries.push(Arc::clone(&entry));
        let attendant = Attendant { duty, entry, shared: shared.clone(), requests: received };
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = attendant.attend() => {}
            }
        });
    }
    Roster(entries.into())
}

struct Attendant {
    duty: Box<dyn Duty>,
    entry: Arc<Entry>,
    shared: Shared,
    requests: mpsc::Receiver<Reply>,
}

impl Attendant {
    async fn attend(mut self) {
        loop {
            let interval = self.entry.interval.mul_f64(rand::random_range(0.8..=1.2));
            let lead = &mut self.shared.lead;
            let asked = tokio::select! {
                request = self.requests.recv() => match request {
                    Some(reply) => Some(reply),
                    None => return,
                },
                () = async {
                    tokio::time::sleep(interval).await;
                    lead.until_leading().await;
                } => None,
            };
            let outcome = match self.shared.lead.term() {
                Some(term) => self.run(term).await,
                None => Err(RunError::NotLeader),
            };
            if let Some(reply) = asked {
                // Whoever asked may have gone; the run stands.
                let _ = reply.send(outcome);
            }
        }
    }

    async fn run(&mut self, term: Term) -> Result<(), RunError> {
        let Shared { store, clock, outages, .. } = self.shared.clone();
        let began = clock.elapsed();
        let cx = DutyContext { store, fence: term.fence, clock, outages };
        let outcome = tokio::select! {
            () = term.ended.cancelled() => return Err(RunError::NotLeader),
            outcome = self.duty.run(&cx) => outcome,
        };
        if matches!(&outcome, Err(StoreError::Unavailable { .. })) {
            cx.outages.note();
        }
        self.entry.note(&outcome, cx.clock.elapsed().saturating_sub(began));
        outcome.map(drop).map_err(RunError::Store)
    }
}

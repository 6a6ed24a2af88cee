//! The duty loop: one task per duty, so that a slow one holds up nobody; statistics for people.

use crate::{
    clock::{Clock, millis, wall_ms},
    duty::{Duty, DutyContext},
    lead::{Lead, Term},
    outage::Outages,
};
use asyncflow_service::config::mask_urls;
use asyncflow_store::{DutyRuns, Store, StoreError};
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

/// How often what a duty did is written into the database, for those who lead later.
const RECORD_INTERVAL: Duration = Duration::from_secs(10);

/// What a duty has done since this process began.
#[derive(Clone, Debug, Default)]
pub(crate) struct DutyStats {
    pub runs: i64,
    pub errors: i64,
    pub rows: i64,
    pub last_rows: i64,
    pub last_run: Option<LastRun>,
    /// `None` when the last run was well.
    pub last_error: Option<String>,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastRun {
    /// Unix milliseconds of this host.
    pub end_ms: i64,
    pub took: Duration,
    /// How long after its time it began.
    pub lag: Duration,
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

    /// Adds a run; says whether it failed where the one before it went well, or the reverse.
    fn note(&self, outcome: &Result<u64, StoreError>, last_run: LastRun) -> bool {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.runs += 1;
        stats.last_run = Some(last_run);
        let failed_before = stats.last_error.is_some();
        match outcome {
            Ok(rows) => {
                stats.last_rows = i64::try_from(*rows).unwrap_or(i64::MAX);
                stats.rows = stats.rows.saturating_add(stats.last_rows);
                if stats.last_error.take().is_some() {
                    tracing::info!(duty = self.name, "the duty is well again");
                }
            }
            Err(error) => {
                stats.errors += 1;
                stats.last_rows = 0;
                let error = mask_urls(&error.to_string());
                if stats.last_error.as_ref() != Some(&error) {
                    tracing::warn!(duty = self.name, error, "the duty failed");
                }
                stats.last_error = Some(error);
            }
        }
        failed_before != outcome.is_err()
    }

    /// When the run under way began, in Unix milliseconds; 0 = none is. One that hangs shows.
    fn tell_running_since(&self, begin_ms: i64) {
        let name = "asyncflow_governor_duty_running_since_timestamp_seconds";
        metrics::gauge!(name, "duty" => self.name).set(begin_ms as f64 / 1_000.0);
    }

    fn measure(&self, outcome: &Result<u64, StoreError>, last_run: LastRun) {
        let LastRun { end_ms, took, lag } = last_run;
        metrics::counter!("asyncflow_governor_duty_runs_total", "duty" => self.name).increment(1);
        // There from the first run on, so that a rate shows the first error too.
        metrics::counter!("asyncflow_governor_duty_errors_total", "duty" => self.name)
            .increment(outcome.is_err().into());
        metrics::counter!("asyncflow_governor_duty_rows_total", "duty" => self.name)
            .increment(*outcome.as_ref().unwrap_or(&0));
        metrics::histogram!("asyncflow_governor_duty_seconds", "duty" => self.name)
            .record(took.as_secs_f64());
        metrics::gauge!("asyncflow_governor_duty_lag_seconds", "duty" => self.name)
            .set(lag.as_secs_f64());
        metrics::gauge!("asyncflow_governor_duty_last_run_timestamp_seconds", "duty" => self.name)
            .set(end_ms as f64 / 1_000.0);
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
        let attendant = Attendant {
            duty,
            entry,
            shared: shared.clone(),
            requests: received,
            due: shared.clock.elapsed(),
            record: Record::default(),
        };
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
    /// When it is to run again: an interval after its last run began.
    due: Duration,
    record: Record,
}

impl Attendant {
    async fn attend(mut self) {
        let mut begins_at_once = self.duty.begins_at_once();
        loop {
            if !std::mem::take(&mut begins_at_once) {
                let interval = self.entry.interval.mul_f64(rand::random_range(0.8..=1.2));
                self.due += self.duty.due_after().unwrap_or(interval).min(interval);
            }
            let pause = self.due.saturating_sub(self.shared.clock.elapsed());
            let lead = &mut self.shared.lead;
            let asked = tokio::select! {
                request = self.requests.recv() => match request {
                    Some(reply) => Some(reply),
                    None => return,
                },
                () = async {
                    tokio::time::sleep(pause).await;
                    lead.until_leading().await;
                } => None,
            };
            let began = self.shared.clock.elapsed();
            let outcome = match self.shared.lead.term() {
                Some(term) => {
                    let due = if asked.is_some() { began } else { self.due.max(term.since) };
                    self.run(term, began, began.saturating_sub(due), asked.is_some()).await
                }
                None => Err(RunError::NotLeader),
            };
            self.due = began;
            if let Some(reply) = asked {
                // Whoever asked may have gone; the run stands.
                let _ = reply.send(outcome);
            }
        }
    }

    async fn run(
        &mut self,
        term: Term,
        began: Duration,
        lag: Duration,
        asked: bool,
    ) -> Result<(), RunError> {
        let Shared { store, clock, outages, .. } = self.shared.clone();
        let cx = DutyContext { store, fence: term.fence, clock, outages };
        self.entry.tell_running_since(wall_ms());
        let outcome = tokio::select! {
            () = term.ended.cancelled() => None,
            outcome = self.duty.run(&cx) => Some(outcome),
        };
        self.entry.tell_running_since(0);
        let outcome = outcome.ok_or(RunError::NotLeader)?;
        let took = cx.clock.elapsed().saturating_sub(began);
        let last_run = LastRun { end_ms: wall_ms(), took, lag };
        self.entry.measure(&outcome, last_run);
        let turned = self.entry.note(&outcome, last_run);
        if matches!(&outcome, Err(StoreError::Unavailable { .. })) {
            cx.outages.note();
        } else if asked || turned || self.record.is_due(cx.clock.elapsed()) {
            tokio::select! {
                () = term.ended.cancelled() => {}
                () = self.record.write(&cx, &self.entry) => {}
            }
        }
        outcome.map(drop).map_err(RunError::Store)
    }
}

/// What of a duty's runs is in the database already.
#[derive(Default)]
struct Record {
    written_at: Option<Duration>,
    written: DutyStats,
}

impl Record {
    fn is_due(&self, now: Duration) -> bool {
        self.written_at.is_none_or(|at| now.saturating_sub(at) >= RECORD_INTERVAL)
    }

    /// Writes what has come since the last time. What fails is written with what comes next.
    async fn write(&mut self, cx: &DutyContext, entry: &Entry) {
        let stats = entry.stats();
        let LastRun { end_ms, took, .. } = stats.last_run.unwrap_or_default();
        let runs = DutyRuns {
            name: entry.name.to_owned(),
            runs: stats.runs - self.written.runs,
            failures: stats.errors - self.written.errors,
            done: stats.rows - self.written.rows,
            last_start_ms: end_ms.saturating_sub(millis(took)),
            last_end_ms: end_ms,
            last_error: stats.last_error.clone(),
        };
        match cx.store.record_duty(&runs, &cx.fence).await {
            Ok(()) => (self.written_at, self.written) = (Some(cx.clock.elapsed()), stats),
            Err(error) => tracing::debug!(%error, duty = entry.name, "a run is not recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use asyncflow_service::telemetry;

    /// The alert rules ask for these by name.
    #[test]
    fn a_run_is_counted_timed_and_measured() {
        let metrics = telemetry::metrics();
        let entry = Entry {
            name: "measured",
            description: "",
            interval: Duration::from_secs(1),
            stats: Mutex::default(),
            requests: mpsc::channel(1).0,
        };
        let run = LastRun {
            end_ms: 5_500,
            took: Duration::from_millis(20),
            lag: Duration::from_millis(1_500),
        };
        let outcomes = [(Ok(3), false), (Err(StoreError::NotLeader), true), (Ok(4), true)];
        for (outcome, turned) in outcomes {
            entry.measure(&outcome, run);
            assert_eq!(entry.note(&outcome, run), turned, "{outcome:?}");
        }
        let stats = entry.stats();
        assert_eq!((stats.runs, stats.errors, stats.rows, stats.last_rows), (3, 1, 7, 4));
        let text = metrics.render();
        for line in [
            "asyncflow_governor_duty_runs_total{duty=\"measured\"} 3",
            "asyncflow_governor_duty_errors_total{duty=\"measured\"} 1",
            "asyncflow_governor_duty_rows_total{duty=\"measured\"} 7",
            "asyncflow_governor_duty_seconds_count{duty=\"measured\"} 3",
            "asyncflow_governor_duty_lag_seconds{duty=\"measured\"} 1.5",
            "asyncflow_governor_duty_last_run_timestamp_seconds{duty=\"measured\"} 5.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}

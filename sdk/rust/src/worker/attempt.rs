//! What a handler or executor has in hand while it works on a task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    advance::Advance,
    context_version::ContextVersion,
    hand_over::HandOver,
    link::Link,
    logs::{CHUNK_BYTES_MAX, Piece},
    outcome::Outcome,
    progress::ProgressBoard,
    stop::{StopNote, StopReason, StopSignal},
};
use crate::{
    Error, clock,
    v1::{AttemptUsage, Content, Lease, LeasedTask, LogStream, Progress, SaveContextRequest, Task},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// One attempt at a task; a cheap clone. All methods may be called until the attempt has ended;
/// after that the broker refuses what they write.
#[derive(Clone)]
pub struct AttemptHandle {
    pub(super) leased: Arc<LeasedTask>,
    pub(super) traceparent: Arc<str>,
    pub(super) stop: StopSignal,
    pub(super) link: Arc<Link>,
    pub(super) advance: Arc<Advance>,
    pub(super) context_version: Arc<ContextVersion>,
    pub(super) progress: Arc<ProgressBoard>,
    pub(super) logs: mpsc::Sender<Piece>,
    pub(super) usage: Arc<Mutex<AttemptUsage>>,
}

impl AttemptHandle {
    /// The task with its lease, as it was handed out.
    pub fn leased(&self) -> &LeasedTask {
        &self.leased
    }

    /// The task as it was handed out.
    pub fn task(&self) -> &Task {
        static NONE: std::sync::LazyLock<Task> = std::sync::LazyLock::new(Task::default);
        self.leased.task.as_ref().unwrap_or(&NONE)
    }

    /// The lease.
    pub fn lease(&self) -> Lease {
        self.leased.lease.clone().unwrap_or_default()
    }

    /// The attempt's place in the task's trace, as a W3C `traceparent`: to be given with the calls
    /// that it makes to others.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Saves stage and context together; `None` leaves one as it is. Durable when it answers, with
    /// the version that was saved. Waits as long as no broker can be reached, and for a save that
    /// is under way.
    ///
    /// Errors: the lease is lost (then [`Self::should_stop`] says so too), the context is too
    /// large. Not cancel safe: it may have been saved.
    pub async fn save_context(
        &self,
        stage: Option<&str>,
        context: Option<Content>,
    ) -> Result<i64, Error> {
        let mut turn = self.context_version.turn().await;
        let saved = loop {
            let expected_version = turn.begin();
            let saving = self.link.in_trace(&self.traceparent).call_until_answered(
                CALL_TIMEOUT,
                |session_id| SaveContextRequest {
                    session_id,
                    lease: self.leased.lease.clone(),
                    stage: stage.map(str::to_owned),
                    context: context.clone(),
                    expected_version: Some(expected_version),
                },
                |mut broker, request| async move { broker.save_context(request).await },
            );
            let saved = self.unless_lost(saving).await.map(|saved| saved.context_version);
            if turn.end(saved.as_ref()) {
                break saved?;
            }
        };
        self.advance.saved(self.task(), stage, context.as_ref());
        Ok(saved)
    }

    /// What came with a signal of this name, for this task or for its workflow, before it was
    /// handed out.
    pub fn signal(&self, name: &str) -> Option<&Content> {
        self.task().signals.get(name)
    }

    /// Says how far it is; sent on within a second, the latest word wins.
    pub fn progress(&self, percent: f64, message: impl Into<String>) {
        self.report(Progress {
            percent: Some(percent),
            message: message.into(),
            ..Progress::default()
        });
    }

    /// Sets the latest value of named metrics, at most 32 names.
    pub fn metrics(&self, values: impl IntoIterator<Item = (String, f64)>) {
        let metrics: BTreeMap<String, f64> = values.into_iter().collect();
        self.report(Progress { metrics, ..Progress::default() });
    }

    /// Says all of it at once; unset and empty fields leave what was said before.
    pub fn report(&self, progress: Progress) {
        self.progress.put(&self.lease(), progress);
    }

    /// Why the attempt should stop, if it should. Save what is needed and return.
    pub fn should_stop(&self) -> Option<StopReason> {
        self.stop.reason()
    }

    /// Resolves when the attempt should stop. Cancel safe.
    pub async fn cancelled(&self) -> StopReason {
        self.stop.raised(StopReason::Drained).await
    }

    /// The signal behind [`Self::should_stop`].
    pub fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }

    /// Makes the attempt stop; a weaker reason than the present one is ignored. For those who watch
    /// over what it does to the machine.
    pub fn demand_stop(&self, reason: StopReason, note: StopNote) {
        self.stop.raise_noted(reason, Some(note));
    }

    /// Changes what is told at the end of what the attempt used: whoever measured a part of it sets
    /// that part.
    pub fn measure(&self, change: impl FnOnce(&mut AttemptUsage)) {
        change(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was measured so far; `None` = nothing.
    pub fn usage(&self) -> Option<AttemptUsage> {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (usage != AttemptUsage::default()).then_some(usage)
    }

    /// What becomes of an attempt that ended with `outcome` after the task had given itself away,
    /// `told` to stop or not: another host goes on with it. Who is cancelled, late or lost gives
    /// nothing away.
    #[must_use]
    pub fn handed_over(
        &self,
        hand_over: HandOver,
        outcome: Outcome,
        told: Option<StopReason>,
    ) -> Outcome {
        let is_new = hand_over.context.is_some() && hand_over.context != self.task().context;
        hand_over.instead_of(outcome, told, is_new || !self.advance.is_none())
    }

    /// Adds a line to the task's log.
    pub async fn log(&self, line: &str) {
        self.write_log(LogStream::Stdout, Bytes::from(format!("{line}\n")), 0).await;
    }

    /// Adds a line of asyncflow's own to the task's log.
    pub async fn log_system(&self, line: &str) {
        self.write_log(LogStream::System, Bytes::from(format!("{line}\n")), 0).await;
    }

    /// Adds bytes to the task's log after a hole of `skipped` bytes. Waits while the queue is full.
    pub async fn write_log(&self, stream: LogStream, mut data: Bytes, skipped: i64) {
        let mut skipped = skipped.max(0);
        while !data.is_empty() {
            let part = data.split_to(data.len().min(CHUNK_BYTES_MAX));
            let piece = Piece { stream, data: part, skipped, time_ms: clock::wall_ms() };
            skipped = 0;
            if self.logs.send(piece).await.is_err() {
                return;
            }
        }
    }
}

pub(super) fn is_lost(error: &Error) -> bool {
    error.has_reason("LEASE_LOST") || error.has_reason("NOT_YOUR_LEASE")
}

//! The end of attempts: journal first, then the broker, until it answers.
//!
//! ```text
//!  attempt ─┐            ┌─ one outcome ─▶ CompleteTask, FailTask, ReleaseTask
//!  attempt ─┼─▶ queue ──▶┤
//!  attempt ─┘            └─ many ────────▶ SettleTasks
//! ```
//!
//! Outcomes that come while calls are under way share the next one. No timer waits for company.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::{
    attempt::is_lost,
    journal::{ResultJournal, SettleCall},
    link::{Link, Pause, is_worth_repeating},
};
use crate::{
    Error, status,
    v1::{
        CompleteTaskRequest, FailTaskRequest, Lease, ReleaseTaskRequest, SettleTasksRequest,
        TaskOutcome, TaskSettled, TaskState, task_outcome,
    },
};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Calls under way at the same time.
const CALLS_MAX: usize = 2;
/// Outcomes per call; the protocol allows 1,000.
const OUTCOMES_MAX: usize = 200;
/// What a call may weigh, unless one outcome alone weighs more: half of the smallest limit that a
/// broker can be given for its messages.
const CALL_BYTES_MAX: usize = 512 * 1024;
/// What an outcome weighs besides its result.
const OUTCOME_BYTES: usize = 2 * 1024;

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Recorded; the task is in this state now.
    Confirmed(TaskState),
    /// Never to be recorded.
    Rejected,
}

/// An outcome that waits for its call.
struct Waiting {
    call: SettleCall,
    traceparent: Arc<str>,
    answer: oneshot::Sender<Result<TaskState, Error>>,
}

impl Waiting {
    /// Whoever has gone away finds the outcome in its journal.
    fn answer(self, answer: Result<TaskState, Error>) {
        let _ = self.answer.send(answer);
    }

    fn weight(&self) -> usize {
        let result = match &self.call {
            SettleCall::Complete(call) => call.result.as_ref(),
            SettleCall::Release(call) => call.context.as_ref(),
            SettleCall::Fail(_) => None,
        };
        OUTCOME_BYTES + result.map_or(0, |result| result.data.len())
    }
}

/// Where outcomes wait for the next call.
pub(super) struct Settler {
    queue: mpsc::UnboundedSender<Waiting>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Waiting>>>,
}

impl Settler {
    pub fn new() -> Self {
        // Bounded by the slots: an attempt waits here with one outcome.
        let (queue, waiting) = mpsc::unbounded_channel();
        Self { queue, waiting: Mutex::new(Some(waiting)) }
    }

    /// Makes the calls until it is dropped. Only the first call of this does anything.
    pub async fn run(&self, link: &Link) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(waiting) = waiting else { return };
        let batches = stream::unfold(waiting, |mut waiting| async {
            let mut batch = Vec::new();
            let count = waiting.recv_many(&mut batch, OUTCOMES_MAX).await;
            (count > 0).then(|| (stream::iter(by_weight(batch)), waiting))
        });
        batches.flatten().for_each_concurrent(CALLS_MAX, |batch| send(link, batch)).await;
    }

    /// Delivers an outcome that is in the journal already. Cancel safe: it stays there.
    pub async fn deliver(
        &self,
        traceparent: &Arc<str>,
        journal: &dyn ResultJournal,
        lease: &Lease,
        call: &SettleCall,
    ) -> Settled {
        let mut pause = Pause::default();
        loop {
            let error = match self.answer(traceparent, call).await {
                Ok(state) => {
                    journal.confirmed(lease).await;
                    return Settled::Confirmed(state);
                }
                Err(error) => error,
            };
            if is_worth_repeating(&error) {
                pause.after(&error).await;
                continue;
            }
            if is_lost(&error) {
                tracing::warn!("another attempt is in force, outcome rejected");
            } else {
                tracing::error!(%error, "the broker refused the outcome");
            }
            journal.rejected(lease, &error.to_string()).await;
            return Settled::Rejected;
        }
    }

    async fn answer(&self, traceparent: &Arc<str>, call: &SettleCall) -> Result<TaskState, Error> {
        let (answer, answered) = oneshot::channel();
        let (call, traceparent) = (call.clone(), traceparent.clone());
        // A worker that ends makes no calls any more; whoever waits here is ended by it, too.
        if self.queue.send(Waiting { call, traceparent, answer }).is_err() {
            return std::future::pending().await;
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Cuts a batch into calls that a broker takes.
fn by_weight(batch: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut calls: Vec<Vec<Waiting>> = Vec::new();
    let mut bytes = usize::MAX;
    for waiting in batch {
        let weight = waiting.weight();
        bytes = bytes.saturating_add(weight);
        match calls.last_mut() {
            Some(call) if bytes <= CALL_BYTES_MAX => call.push(waiting),
            _ => {
                bytes = weight;
                calls.push(vec![waiting]);
            }
        }
    }
    calls
}

async fn send(link: &Link, mut batch: Vec<Waiting>) {
    if batch.len() > 1 {
        send_many(link, batch).await;
    } else if let Some(waiting) = batch.pop() {
        send_alone(link, waiting).await;
    }
}

async fn send_alone(link: &Link, waiting: Waiting) {
    let answer = send_one(link, &waiting.traceparent, waiting.call.clone()).await;
    waiting.answer(answer);
}

/// In the trace of its task.
async fn send_one(link: &Link, traceparent: &str, call: SettleCall) -> Result<TaskState, Error> {
    let calls = link.in_trace(traceparent);
    match call {
        SettleCall::Complete(call) => {
            let with_session = |session_id| CompleteTaskRequest { session_id, ..call };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.complete_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
        SettleCall::Fail(call) => {
            let with_session = |session_id| FailTaskRequest { session_id, ..call };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.fail_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
        SettleCall::Release(call) => {
            let with_session = |session_id| ReleaseTaskRequest { session_id, ..call };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.release_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
    }
}

async fn send_many(link: &Link, batch: Vec<Waiting>) {
    let outcomes = batch.iter().map(|waiting| outcome(waiting.call.clone())).collect();
    let answered = link
        .calls()
        .call(
            CALL_TIMEOUT,
            |session_id| SettleTasksRequest { session_id, outcomes },
            |mut broker, request| async move { broker.settle_tasks(request).await },
        )
        .await;
    let mut results = match answered {
        Ok(answer) => answer.results.into_iter(),
        // Outcomes are refused one by one only, never for what is wrong with the call: a broker may
        // be older than it.
        Err(error) if !is_worth_repeating(&error) => {
            for waiting in batch {
                send_alone(link, waiting).await;
            }
            return;
        }
        Err(error) => {
            batch.into_iter().for_each(|waiting| waiting.answer(Err(error.clone())));
            return;
        }
    };
    for waiting in batch {
        waiting.answer(match results.next() {
            Some(TaskSettled { error: Some(error), .. }) => Err(error.into()),
            Some(settled) => Ok(settled.state()),
            None => Err(status::incomplete("result for each outcome").into()),
        });
    }
}

fn outcome(call: SettleCall) -> TaskOutcome {
    TaskOutcome {
        outcome: Some(match call {
            SettleCall::Complete(call) => task_outcome::Outcome::Complete(call),
            SettleCall::Fail(call) => task_outcome::Outcome::Fail(call),
            SettleCall::Release(call) => task_outcome::Outcome::Release(call),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Content;

    fn waiting(bytes: usize) -> Waiting {
        let result = Some(Content { data: vec![0; bytes].into(), ..Content::default() });
        let call = SettleCall::Complete(CompleteTaskRequest { result, ..Default::default() });
        Waiting { call, traceparent: "".into(), answer: oneshot::channel().0 }
    }

    #[test]
    fn a_call_weighs_no_more_than_a_broker_takes() {
        let counts = |sizes: Vec<usize>| -> Vec<usize> {
            let batch = sizes.into_iter().map(waiting).collect();
            by_weight(batch).iter().map(Vec::len).collect()
        };
        assert_eq!(counts(vec![]), [0; 0]);
        assert_eq!(counts(vec![0; 200]), [200]);
        assert_eq!(counts(vec![64 * 1024; 20]), [7, 7, 6]);
        assert_eq!(counts(vec![0, CALL_BYTES_MAX, 0]), [1, 1, 1]);
    }
}

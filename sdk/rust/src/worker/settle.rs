//! The end of an attempt: journal first, then the broker, until it answers.

use std::time::Duration;

use super::{
    attempt::is_lost,
    journal::{ResultJournal, SettleCall},
    link::{Calls, Pause, is_worth_repeating},
};
use crate::{
    Error,
    v1::{CompleteTaskRequest, FailTaskRequest, Lease, ReleaseTaskRequest, TaskState},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Recorded; the task is in this state now.
    Confirmed(TaskState),
    /// Never to be recorded.
    Rejected,
}

/// Delivers an outcome that is in the journal already. Cancel safe: it stays there.
pub(super) async fn deliver(
    calls: Calls<'_>,
    journal: &dyn ResultJournal,
    lease: &Lease,
    call: &SettleCall,
) -> Settled {
    let mut pause = Pause::default();
    loop {
        let error = match send(calls, call).await {
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

async fn send(calls: Calls<'_>, call: &SettleCall) -> Result<TaskState, Error> {
    match call {
        SettleCall::Complete(call) => {
            let with_session = |session_id| CompleteTaskRequest { session_id, ..call.clone() };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.complete_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
        SettleCall::Fail(call) => {
            let with_session = |session_id| FailTaskRequest { session_id, ..call.clone() };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.fail_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
        SettleCall::Release(call) => {
            let with_session = |session_id| ReleaseTaskRequest { session_id, ..call.clone() };
            calls
                .call(CALL_TIMEOUT, with_session, |mut broker, request| async move {
                    broker.release_task(request).await
                })
                .await
                .map(|answer| answer.state())
        }
    }
}

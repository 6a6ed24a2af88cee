//! Verbs of workers. Every write carries the attempt and the session.

pub mod acquire_tasks;
pub mod complete_task;
pub mod create_child_tasks;
pub mod deregister_worker;
pub mod fail_task;
pub mod heartbeat;
pub mod list_child_tasks;
pub mod push_task_logs;
pub mod register_worker;
pub mod release_task;
pub mod report_host;
pub mod report_progress;
pub mod save_context;
pub mod settle_tasks;
pub mod start_tasks;
pub mod stream_commands;

use asyncflow_core::{
    digest,
    event::{Event, Fence, HandOver, RetryHint, Settle},
    id::TaskId,
    limits::MESSAGE_BYTES_MAX,
    reason::FailureReason,
    state::TaskState,
    task::Task,
    transition::Refusal,
    usage::AttemptUsage,
    validate::{at::At, text, work},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::ApplyError;

use crate::{
    broker::Broker,
    convert::{self, work::Lease},
    error::RpcError,
    session::Session,
    settle::{ApplyResult, refused},
};

/// How a worker says that an attempt ended.
pub struct Ending {
    lease: Lease,
    settle: Settle,
    exit_code: Option<i32>,
    usage: Option<Box<AttemptUsage>>,
    /// The next attempt keeps away from the worker's host.
    elsewhere: bool,
}

impl Ending {
    fn new(
        lease: Lease,
        settle: Settle,
        exit_code: Option<i32>,
        usage: Option<Box<AttemptUsage>>,
    ) -> Self {
        Self { lease, settle, exit_code, usage, elsewhere: false }
    }

    /// A context that is too large for the task's type fails the attempt: to refuse the call would
    /// leave the task with a worker that has ended it.
    async fn within_limits(mut self, broker: &Broker) -> Result<Self, RpcError> {
        let Settle::Release { hand_over: HandOver { context: Some(context), .. }, .. } =
            &self.settle
        else {
            return Ok(self);
        };
        let task_type = broker.store.get_type(self.lease.id.task_type()).await?;
        let most = task_type.map_or(0, |task_type| task_type.max_context_bytes);
        let bytes = context.data.len();
        if i64::try_from(bytes).is_ok_and(|bytes| bytes > i64::from(most)) {
            self.settle = Settle::Fail {
                reason: FailureReason::BadContext,
                message: format!(
                    "it was given away with a context of {bytes} bytes; at most {most}"
                ),
                hint: RetryHint::Never,
            };
        }
        Ok(self)
    }

    fn event(self, session: &Session) -> (TaskId, Event) {
        let Self { lease, mut settle, exit_code, usage, elsewhere } = self;
        if let Settle::Release { hand_over, .. } = &mut settle {
            hand_over.avoid_host = elsewhere.then(|| session.host.clone());
        }
        let fence = session.fence(lease.attempt);
        let digest = digest::settle(&settle, exit_code);
        (lease.id, Event::Settle { fence, settle, digest, exit_code, usage })
    }
}

/// Ends an attempt; a replay of the same call answers the same.
async fn settle(broker: &Broker, session_id: &str, ending: Ending) -> Result<i32, RpcError> {
    let session = broker.sessions.get(session_id).await?;
    let (id, event) = ending.event(&session);
    let task = broker.settle.apply_one(id, event).await?;
    Ok(convert::task::state(task.state).into())
}

/// Applies an event to each lease in one batch and says what the worker has to do about each.
async fn verdicts(
    broker: &Broker,
    session: &Session,
    leases: Vec<Lease>,
    event: impl Fn(usize, Fence) -> Event,
) -> Result<Vec<v1::LeaseStatus>, RpcError> {
    let events = leases
        .iter()
        .enumerate()
        .map(|(index, lease)| (lease.id.clone(), event(index, session.fence(lease.attempt))));
    let answers = broker.settle.apply(events.collect()).await?;
    let mut statuses = Vec::with_capacity(leases.len());
    for (lease, answer) in leases.iter().zip(answers) {
        statuses.push(v1::LeaseStatus {
            lease: Some(convert::work::lease_to_proto(&lease.id, lease.attempt)),
            verdict: verdict(lease, answer)?.into(),
        });
    }
    Ok(statuses)
}

fn verdict(lease: &Lease, answer: ApplyResult) -> Result<v1::LeaseVerdict, RpcError> {
    let of = |task: &Task| match task.state {
        TaskState::Cancelling => v1::LeaseVerdict::Cancel,
        _ => v1::LeaseVerdict::Ok,
    };
    match answer {
        Ok(applied) => Ok(of(&applied.task)),
        Err(ApplyError::Refused(Refusal::AlreadyDone, task)) => Ok(of(&task)),
        Err(ApplyError::Store(error)) => Err(refused(&lease.id, ApplyError::Store(error))),
        Err(_) => Ok(v1::LeaseVerdict::Lost),
    }
}

/// Why an attempt did not succeed, in its worker's words; the message is cut, not refused.
fn failure(
    failure: Option<v1::Failure>,
    unspecified: FailureReason,
    at: At<'_>,
    violations: &mut Violations,
) -> (FailureReason, String) {
    let failure = failure.unwrap_or_default();
    let reason = work::reason(failure.reason, unspecified, at.field("reason"), violations);
    (reason, text::cut(&failure.message, MESSAGE_BYTES_MAX))
}

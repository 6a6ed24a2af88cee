//! Handlers: what people write to have their tasks run in Rust.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures::FutureExt;

use super::{
    attempt::AttemptHandle, executor::Executor, hand_over::HandOver, outcome::Outcome,
    stop::StopReason,
};
use crate::{
    Error,
    v1::{Content, FailureReason, LeasedTask, TaskState, WaitFor},
};

/// How long a handler that was told to stop may go on before it is dropped.
const GRACE: Duration = Duration::from_secs(10);

/// Works on the tasks of one type. One value serves all attempts, many at a time.
///
/// A panic in any of the methods is caught and fails the attempt.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// What payload and context are parsed into.
    type Context: Send;

    /// Parses payload and context; `task.stage` says after which stage to go on.
    async fn load_context(&self, task: &LeasedTask) -> Result<Self::Context, HandlerError>;

    /// Does the work, with [`AttemptHandle::save_context`] after each stage. Its future is dropped
    /// when it goes on for too long after the attempt was told to stop.
    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        context: Self::Context,
    ) -> Result<Option<Content>, HandlerError>;

    /// The task has succeeded, failed for good or was cancelled: notify, clean up. Not called when
    /// the task will be tried again.
    async fn finish(&self, _task: &LeasedTask, _outcome: &Outcome) {}
}

/// Why a handler did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct HandlerError {
    message: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Retryable(Option<Duration>),
    Permanent,
    BadContext,
    Stopped,
    Waiting(WaitFor),
    HandOver(HandOver),
}

impl HandlerError {
    /// May be tried again by the task's retry policy.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Retryable(None) }
    }

    /// May be tried again, but not before this wait is over.
    pub fn retry_after(wait: Duration, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Retryable(Some(wait)) }
    }

    /// Trying again cannot help.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::Permanent }
    }

    /// Payload or context cannot be parsed; trying again cannot help.
    pub fn bad_context(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: Kind::BadContext }
    }

    /// Not a failure: the task gives its slot back until the tasks that it has made so far have
    /// ended, and is then handed out again, to go on behind its saved stage.
    pub fn wait_for_children() -> Self {
        Self::wait_for(WaitFor { children: true, ..WaitFor::default() })
    }

    /// The same until these signals have come, each of them; those that came early count.
    pub fn wait_for_signals<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        let signals = names.into_iter().map(Into::into).collect();
        Self::wait_for(WaitFor { signals, ..WaitFor::default() })
    }

    /// The same until all of this is there.
    pub fn wait_for(wait_for: WaitFor) -> Self {
        Self { message: "waits".to_owned(), kind: Kind::Waiting(wait_for) }
    }

    /// Not a failure: another host goes on with the task, from this context; `None` = from what was
    /// saved last. `message` says why, for people.
    pub fn hand_over(context: Option<Content>, message: impl Into<String>) -> Self {
        let hand_over = HandOver { context, message: message.into() };
        Self { message: "hands over".to_owned(), kind: Kind::HandOver(hand_over) }
    }

    /// The handler ended because the attempt was told to stop.
    pub fn stopped() -> Self {
        Self { message: "stopped".to_owned(), kind: Kind::Stopped }
    }
}

impl From<Error> for HandlerError {
    /// A call to the broker failed.
    fn from(error: Error) -> Self {
        Self::retryable(error.to_string())
    }
}

impl From<serde_json::Error> for HandlerError {
    /// Payload, context or result is not what the handler takes it for; see [`crate::json`].
    fn from(error: serde_json::Error) -> Self {
        Self::bad_context(format!("JSON: {error}"))
    }
}

/// Runs a handler as an executor.
pub(super) struct HandlerExecutor<H>(H);

impl<H: Handler> HandlerExecutor<H> {
    pub fn new(handler: H) -> Self {
        Self(handler)
    }

    async fn run(&self, attempt: &mut AttemptHandle) -> Result<Option<Content>, HandlerError> {
        let leased = attempt.leased.clone();
        let context = self.0.load_context(&leased).await?;
        self.0.process(attempt, context).await
    }
}

#[async_trait]
impl<H: Handler> Executor for HandlerExecutor<H> {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        let mut lent = attempt.clone();
        let work = AssertUnwindSafe(self.run(&mut lent)).catch_unwind();
        let overdue = async {
            let told = attempt.cancelled().await;
            if told < StopReason::LeaseLost {
                tokio::select! {
                    () = tokio::time::sleep(GRACE) => {}
                    _ = attempt.stop.raised(StopReason::LeaseLost) => {}
                }
            }
            attempt.should_stop().unwrap_or(told)
        };
        let ended = tokio::select! {
            ended = work => ended,
            told = overdue => return Outcome::stopped(told),
        };
        match ended {
            Ok(Ok(result)) => Outcome::Succeeded { result, exit_code: None },
            Ok(Err(HandlerError { kind: Kind::HandOver(hand_over), .. })) => {
                let told = attempt.should_stop();
                let none = Outcome::released(FailureReason::HandedOver, "");
                attempt.handed_over(hand_over, told.map_or(none, Outcome::stopped), told)
            }
            Ok(Err(error)) => outcome_of(error, attempt.should_stop()),
            Err(panic) => {
                let message = format!("the handler panicked: {}", panic_text(&*panic));
                Outcome::failed(FailureReason::Error, message)
            }
        }
    }

    async fn finished(&self, attempt: &AttemptHandle, outcome: &Outcome, _state: TaskState) {
        let finishing = AssertUnwindSafe(self.0.finish(attempt.leased(), outcome));
        if let Err(panic) = finishing.catch_unwind().await {
            let task_id = &attempt.task().id;
            tracing::error!(task_id, "finish panicked: {}", panic_text(&*panic));
        }
    }
}

/// An error after the attempt was told to stop is taken as the stop's consequence.
fn outcome_of(error: HandlerError, told: Option<StopReason>) -> Outcome {
    if let Some(told) = told {
        return Outcome::stopped(told);
    }
    match error.kind {
        Kind::Retryable(retry_after) => {
            match Outcome::failed(FailureReason::Error, error.message) {
                Outcome::Failed { reason, message, permanent, exit_code, .. } => {
                    Outcome::Failed { reason, message, permanent, retry_after, exit_code }
                }
                other => other,
            }
        }
        Kind::Permanent => Outcome::failed_for_good(FailureReason::Permanent, error.message),
        Kind::BadContext => Outcome::failed_for_good(FailureReason::BadContext, error.message),
        Kind::Waiting(wait_for) => Outcome::Waiting { wait_for, or_fail: None, exit_code: None },
        // Not seen here.
        Kind::HandOver(_) => Outcome::released(FailureReason::HandedOver, error.message),
        Kind::Stopped => {
            Outcome::failed(FailureReason::Error, "the handler stopped without being told to")
        }
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

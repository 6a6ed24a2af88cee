//! How an attempt ended, in the worker's words.

use std::time::Duration;

use super::stop::{StopNote, StopReason};
use crate::v1::{Content, FailureReason, WaitFor};

/// Largest result that a broker takes.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;
/// Largest context that any task type allows.
pub const CONTEXT_BYTES_MAX: usize = 1_024 * 1_024;
const CONTENT_TYPE_BYTES_MAX: usize = 128;
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Behind the reason of one that was told to stop.
const AT_CHECKPOINT: &str = "; stopped at a checkpoint; it goes on from its context";
/// Behind it, where the next attempt is to be on another host.
const ELSEWHERE: &str = "; it goes to another host if there is one for it";
/// Signals that a broker lets a task wait for.
const SIGNALS_MAX: usize = 32;
const SIGNAL_NAME_BYTES_MAX: usize = 64;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done.
    Succeeded {
        /// Recorded with the task.
        result: Option<Content>,
        /// Of the process, if there was one.
        exit_code: Option<i32>,
    },
    /// It failed, or confirms a cancel.
    Failed {
        /// For programs.
        reason: FailureReason,
        /// For people; cut at 1,024 bytes.
        message: String,
        /// Do not try again, whatever the budget says.
        permanent: bool,
        /// Wait at least this long before the next attempt.
        retry_after: Option<Duration>,
        /// Of the process, if there was one; −signal when a signal ended it.
        exit_code: Option<i32>,
    },
    /// It gives the task back without a failure.
    Released {
        /// DRAINED, CHECKPOINTED, NOT_STARTED, HANDED_OVER …
        reason: FailureReason,
        /// For people.
        message: String,
        /// Do not hand it out before.
        delay: Option<Duration>,
        /// Of the process, if there was one.
        exit_code: Option<i32>,
        /// Its context from now on; `None` = as it was saved last.
        context: Option<Content>,
        /// The next attempt goes to another host, unless there is none for it.
        elsewhere: bool,
    },
    /// It gives its slot back, and goes on in another attempt when all of this is there.
    Waiting {
        /// What it waits for.
        wait_for: WaitFor,
        /// What it fails of if all of it is there already, because it would only do the same
        /// again; `None` = it is run again at once. The worker fills it in.
        or_fail: Option<String>,
        /// Of the process, if there was one.
        exit_code: Option<i32>,
    },
    /// The lease is lost: say nothing more about it.
    Abandoned,
}

impl Outcome {
    /// A failure that may be tried again by the task's retry policy.
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed {
            reason,
            message: cut(message.into()),
            permanent: false,
            retry_after: None,
            exit_code: None,
        }
    }

    /// A failure for which another attempt is pointless.
    pub fn failed_for_good(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Failed {
            reason,
            message: cut(message.into()),
            permanent: true,
            retry_after: None,
            exit_code: None,
        }
    }

    /// The same failure, to be tried again after this wait at the earliest; nothing else changes.
    #[must_use]
    pub fn not_before(mut self, wait: Option<Duration>) -> Self {
        if let Self::Failed { retry_after, .. } = &mut self {
            *retry_after = wait;
        }
        self
    }

    /// What becomes of an attempt that ended because it was told to stop.
    pub fn stopped(reason: StopReason) -> Self {
        let text = reason.text();
        match reason {
            StopReason::Cancelled => Self::failed(FailureReason::Cancelled, text),
            StopReason::TimedOut => Self::failed(FailureReason::TimedOut, text),
            StopReason::LeaseLost => Self::Abandoned,
            StopReason::GpuIdle => Self::failed(FailureReason::TimedOut, text),
            // Whoever runs it again as it is harms others again.
            StopReason::Trespassed => Self::failed_for_good(FailureReason::Trespassed, text),
            StopReason::Preempted => Self::released(FailureReason::Preempted, text),
            StopReason::HandedOver => Self::released(FailureReason::HandedOver, text),
            StopReason::GpuFault => Self::released(FailureReason::GpuFault, text),
            StopReason::Drained | StopReason::Aborted => {
                Self::released(FailureReason::Drained, text)
            }
        }
    }

    /// The same of one that had saved what it had: whoever is next goes on from there, here or
    /// elsewhere.
    pub fn stopped_at_checkpoint(reason: StopReason) -> Self {
        match Self::stopped(reason) {
            Self::Released { message, .. } => {
                Self::released(FailureReason::Checkpointed, format!("{message}{AT_CHECKPOINT}"))
            }
            other => other,
        }
    }

    /// Gives the task back at once, without a failure.
    pub fn released(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::Released {
            reason,
            message: cut(message.into()),
            delay: None,
            exit_code: None,
            context: None,
            elsewhere: false,
        }
    }

    /// What was said when it was told to stop goes into the outcome of that.
    #[must_use]
    pub(super) fn with_note(mut self, reason: Option<StopReason>, note: Option<&StopNote>) -> Self {
        let (Some(reason), Some(note)) = (reason, note) else { return self };
        if let Self::Released { message, .. } | Self::Failed { message, .. } = &mut self
            && let Some(rest) = message.strip_prefix(reason.text())
            && ["", AT_CHECKPOINT].contains(&rest)
        {
            let elsewhere = if note.elsewhere { ELSEWHERE } else { "" };
            *message = cut(format!("{}{rest}{elsewhere}", reason.told(&note.message)));
        }
        if let Self::Released { context, elsewhere, .. } = &mut self {
            // What it says itself counts before what was ordered.
            *context = context.take().or_else(|| note.context.clone());
            *elsewhere |= note.elsewhere;
        }
        self
    }

    /// Of the process, if there was one.
    pub(super) fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Succeeded { exit_code, .. }
            | Self::Failed { exit_code, .. }
            | Self::Released { exit_code, .. }
            | Self::Waiting { exit_code, .. } => *exit_code,
            Self::Abandoned => None,
        }
    }

    /// The same with the exit code of the process.
    #[must_use]
    pub fn with_exit_code(mut self, code: Option<i32>) -> Self {
        match &mut self {
            Self::Succeeded { exit_code, .. }
            | Self::Failed { exit_code, .. }
            | Self::Released { exit_code, .. }
            | Self::Waiting { exit_code, .. } => *exit_code = code,
            Self::Abandoned => {}
        }
        self
    }

    /// A result over its limit fails the attempt, once and for good.
    #[must_use]
    pub(super) fn within_limits(self) -> Self {
        match self {
            Self::Succeeded { result: Some(result), exit_code }
                if result.data.len() > RESULT_BYTES_MAX =>
            {
                let size = result.data.len();
                let message = format!("the result has {size} bytes, at most {RESULT_BYTES_MAX}");
                Self::failed_for_good(FailureReason::ResultTooLarge, message)
                    .with_exit_code(exit_code)
            }
            Self::Succeeded { result: Some(mut result), exit_code } => {
                // A broker refuses such a line, and with it the outcome.
                if !is_content_type(&result.content_type) {
                    result.content_type.clear();
                }
                Self::Succeeded { result: Some(result), exit_code }
            }
            Self::Released { context: Some(content), exit_code, .. }
                if content.data.len() > CONTEXT_BYTES_MAX =>
            {
                let size = content.data.len();
                let message = format!("the context has {size} bytes, at most {CONTEXT_BYTES_MAX}");
                Self::failed_for_good(FailureReason::BadContext, message).with_exit_code(exit_code)
            }
            Self::Released {
                context: Some(mut content),
                reason,
                message,
                delay,
                exit_code,
                elsewhere,
            } => {
                if !is_content_type(&content.content_type) {
                    content.content_type.clear();
                }
                let context = Some(content);
                Self::Released { reason, message, delay, exit_code, context, elsewhere }
            }
            Self::Waiting { wait_for, exit_code, .. } if !is_something(&wait_for) => {
                let message = format!(
                    "it wants to wait for {:?}; that is 1 to {SIGNALS_MAX} names of 1 to \
                     {SIGNAL_NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ -, or its children",
                    wait_for.signals,
                );
                Self::failed_for_good(FailureReason::Permanent, message).with_exit_code(exit_code)
            }
            Self::Waiting { mut wait_for, or_fail, exit_code } => {
                wait_for.signals.sort_unstable();
                wait_for.signals.dedup();
                Self::Waiting { wait_for, or_fail, exit_code }
            }
            other => other,
        }
    }

    /// For metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Released { .. } => "released",
            Self::Waiting { .. } => "waiting",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Whether a broker takes it.
fn is_something(wait_for: &WaitFor) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let is_name =
        |name: &String| (1..=SIGNAL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits);
    let count = wait_for.signals.len();
    (wait_for.children || count > 0) && count <= SIGNALS_MAX && wait_for.signals.iter().all(is_name)
}

fn is_content_type(text: &str) -> bool {
    text.len() <= CONTENT_TYPE_BYTES_MAX && !text.contains(char::is_control)
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::{Content, FailureReason, Outcome, RESULT_BYTES_MAX};

    #[test]
    fn a_result_one_byte_over_the_limit_fails_for_good() {
        let with = |size: usize| Outcome::Succeeded {
            result: Some(Content { data: vec![0; size].into(), ..Content::default() }),
            exit_code: Some(0),
        };
        assert_eq!(with(RESULT_BYTES_MAX).within_limits(), with(RESULT_BYTES_MAX));
        let refused = with(RESULT_BYTES_MAX + 1).within_limits();
        assert!(
            matches!(
                refused,
                Outcome::Failed { reason: FailureReason::ResultTooLarge, permanent: true, .. }
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let Outcome::Failed { message, .. } =
            Outcome::failed(FailureReason::Error, "é".repeat(2_000))
        else {
            return;
        };
        assert_eq!(message.len(), 1_024);
    }
}

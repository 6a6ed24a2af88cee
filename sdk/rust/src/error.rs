//! What goes wrong between a client and a broker, in a form that programs and people can use.

use std::{fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::v1::TaskError;

/// One field of a request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, e.g. `task.retry.max_retries`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// A call that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The options are unusable; nothing was sent.
    #[error("{0}")]
    Config(String),
    /// The broker refused the call, or did not answer.
    #[error("{}", Told(.0))]
    Status(Box<Status>),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(remap(status)))
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::Status(Box::new(crate::status::of_result(error)))
    }
}

fn remap(status: Status) -> Status {
    if status.code() == Code::Cancelled && status.message() == "Timeout expired" {
        return crate::status::late();
    }
    status
}

impl Error {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Config(_) => None,
            Self::Status(status) => Some(status),
        }
    }

    /// The gRPC code; `InvalidArgument` for unusable options.
    pub fn code(&self) -> Code {
        self.status().map_or(Code::InvalidArgument, Status::code)
    }

    /// The broker's words, without code and details.
    pub fn message(&self) -> &str {
        match self {
            Self::Config(message) => message,
            Self::Status(status) => status.message(),
        }
    }

    /// `google.rpc.ErrorInfo.reason`, e.g. `LEASE_LOST`; each is explained in `docs/errors/`.
    pub fn reason(&self) -> Option<String> {
        Some(self.status()?.get_details_error_info()?.reason)
    }

    /// A value of `google.rpc.ErrorInfo.metadata`.
    pub fn detail(&self, key: &str) -> Option<String> {
        self.status()?.get_details_error_info()?.metadata.remove(key)
    }

    /// Whether the broker gave this reason.
    pub fn has_reason(&self, reason: &str) -> bool {
        self.reason().is_some_and(|given| given == reason)
    }

    /// All that is wrong with the request.
    pub fn violations(&self) -> Vec<Violation> {
        let details = self.status().and_then(StatusExt::get_details_bad_request);
        let fields = details.map(|bad| bad.field_violations).unwrap_or_default();
        fields
            .into_iter()
            .map(|violation| Violation {
                field: violation.field,
                description: violation.description,
            })
            .collect()
    }

    /// How long the broker asks to wait before the call is repeated.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.status()?.get_details_retry_info()?.retry_delay
    }

    /// Whether repeating the same call may help: the broker said so, or it could not be reached.
    pub fn is_retryable(&self) -> bool {
        self.is_unreachable()
            || self.status().is_some_and(|status| status.get_details_retry_info().is_some())
    }

    /// Whether the broker has certainly done nothing, and may do it when it is asked again: it said
    /// so, or there was no connection to it.
    pub(crate) fn is_undone(&self) -> bool {
        let is_said = || self.reason().is_some_and(|said| NOTHING_DONE.contains(&said.as_str()));
        self.is_retryable() && (is_said() || self.status().is_some_and(was_not_sent))
    }

    /// Whether the broker may have done it although no answer came. A create is safe to be repeated
    /// with its request id; anything else is to be looked at first.
    pub fn is_outcome_unknown(&self) -> bool {
        let is_unconfirmed = || {
            self.code() == Code::DeadlineExceeded
                || self.has_reason("COMMIT_UNCONFIRMED")
                || self.is_unreachable()
        };
        !self.is_undone() && is_unconfirmed()
    }

    /// Whether the task, type or shard does not exist (any more).
    pub fn is_not_found(&self) -> bool {
        self.code() == Code::NotFound
    }

    /// Whether no broker could be reached, or it could not reach its database.
    pub fn is_unreachable(&self) -> bool {
        let Some(status) = self.status() else { return false };
        status.code() == Code::Unavailable || broke_in_transit(status)
    }
}

/// With these a broker refuses what it has not begun, or has rolled back.
const NOTHING_DONE: [&str; 5] =
    ["SHUTTING_DOWN", "DATABASE_UNAVAILABLE", "OVERLOADED", "CONTENTION", "STORAGE_FULL"];

/// Whether there was no connection by which it could have been sent.
fn was_not_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        let is_refused = io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
        if is_refused || error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// A connection that breaks in the middle of a call surfaces as UNKNOWN or INTERNAL with the
/// transport's error as source.
fn broke_in_transit(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::transport::Error>() {
            return true;
        }
        source = error.source();
    }
    status.message().starts_with("h2 protocol error") || status.message() == "transport error"
}

/// What the transport's error rests on, e.g. "Connection refused"; nothing for a broker's refusal.
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Some(cause.to_string())
}

/// A status as people want to read it.
struct Told<'a>(&'a Status);

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = Error::Status(Box::new(self.0.clone()));
        match error.message() {
            "" => write!(out, "{}", self.0.code())?,
            message => out.write_str(message)?,
        }
        // "tcp connect error" says less than what lies under it.
        if let Some(cause) = root_cause(self.0)
            && cause != error.message()
        {
            write!(out, ": {cause}")?;
        }
        if let Some(reason) = error.reason() {
            write!(out, " ({reason})")?;
        }
        for violation in error.violations() {
            write!(out, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::time::Duration;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::Error;

    #[test]
    fn tells_reason_and_every_violation() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELDS", "asyncflow", [("key".into(), "value".into())])
            .add_bad_request_violation("task.task_type", "must not be empty")
            .add_bad_request_violation("task.priority", "must be at most 1,000");
        let error = Error::from(Status::with_error_details(
            Code::InvalidArgument,
            "the request is not valid",
            details,
        ));
        assert_eq!(
            error.to_string(),
            "the request is not valid (INVALID_FIELDS)\n  task.task_type: must not be empty\n  \
             task.priority: must be at most 1,000"
        );
        assert_eq!(error.detail("key").as_deref(), Some("value"));
        assert!(!error.is_retryable() && !error.is_not_found() && !error.is_unreachable());
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        let with = |code, reason: &str| {
            let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
            details.set_error_info(reason, "asyncflow", std::collections::HashMap::new());
            Error::from(Status::with_error_details(code, "words", details))
        };
        for (error, is_unknown) in [
            (Error::from(Status::cancelled("Timeout expired")), true),
            (Error::from(Status::unavailable("the connection broke")), true),
            (with(Code::Unavailable, "COMMIT_UNCONFIRMED"), true),
            (with(Code::Unavailable, "DATABASE_UNAVAILABLE"), false),
            (Error::from(Status::invalid_argument("bad")), false),
            (Error::Config("bad".to_owned()), false),
        ] {
            assert_eq!(error.is_outcome_unknown(), is_unknown, "{error}");
        }
    }

    #[test]
    fn repeats_only_where_the_broker_says_so_or_is_away() {
        let busy = Status::with_error_details(
            Code::ResourceExhausted,
            "busy",
            ErrorDetails::with_retry_info(Some(Duration::from_millis(250))),
        );
        let busy = Error::from(busy);
        assert!(busy.is_retryable() && !busy.is_unreachable());
        assert_eq!(busy.retry_delay(), Some(Duration::from_millis(250)));
        assert!(Error::from(Status::unavailable("gone")).is_retryable());
        assert!(!Error::from(Status::resource_exhausted("too large")).is_retryable());
        let late = Error::from(Status::cancelled("Timeout expired"));
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
}

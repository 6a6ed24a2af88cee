//! The only place of this crate where a [`Status`] is built.
//!
//! Every refusal carries an `ErrorInfo.reason` (a key into `docs/errors/`), every retryable one a
//! `RetryInfo`.

use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of all that asyncflow refuses.
pub const DOMAIN: &str = "asyncflow";

fn refusal(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn retryable(code: Code, reason: &str, message: &str, after: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_retry_info(Some(after));
    Status::with_error_details(code, message, details)
}

/// One text for a missing, malformed and unknown token, so that nothing can be learnt from it.
#[must_use]
pub fn unauthenticated() -> Status {
    refusal(Code::Unauthenticated, "UNAUTHENTICATED", "a valid token is required")
}

/// The caller is known and may not do this.
#[must_use]
pub fn permission_denied(message: &str) -> Status {
    refusal(Code::PermissionDenied, "PERMISSION_DENIED", message)
}

/// The caller's deadline is over, or too near to begin.
#[must_use]
pub fn deadline_exceeded() -> Status {
    refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline of the call has expired")
}

/// The server has more calls at hand than it is allowed to.
#[must_use]
pub fn overloaded() -> Status {
    let message = "the server is at its limit of concurrent calls";
    retryable(Code::ResourceExhausted, "OVERLOADED", message, Duration::from_secs(1))
}

/// The server ends now; another one, or this one after its restart, will answer.
#[must_use]
pub fn stopping() -> Status {
    retryable(Code::Unavailable, "STOPPING", "the server is stopping", Duration::from_secs(1))
}

/// A message is over the transport's size limit; `message` is tonic's text with the figures.
#[must_use]
pub fn message_too_large(message: &str) -> Status {
    refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message)
}

/// The bytes of a request are not the message that they should be.
#[must_use]
pub fn malformed_message(message: &str) -> Status {
    refusal(Code::InvalidArgument, "MALFORMED_MESSAGE", message)
}

/// A handler panicked: a bug of ours. The log has what the caller should not see.
#[must_use]
pub fn panicked() -> Status {
    refusal(Code::Internal, "BUG", "the server met a bug; its log has the details")
}

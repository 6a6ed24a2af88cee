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
    refusal(Code::ResourceExhausted, MESSAGE_TOO_LARGE, message)
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

/// [`method_not_allowed`], which HTTP has its own number for; so for the next ones.
pub(crate) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
/// [`message_too_large`].
pub(crate) const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// [`url_too_long`].
pub(crate) const URL_TOO_LONG: &str = "URL_TOO_LONG";
/// [`unsupported_body`].
pub(crate) const UNSUPPORTED_BODY: &str = "UNSUPPORTED_BODY";

/// Fields of a request do not fit: each with what it should be.
#[must_use]
pub fn invalid_fields(violations: Vec<(String, String)>) -> Status {
    let message = match violations.as_slice() {
        [] => "invalid request".to_owned(),
        [(field, description)] => format!("{field}: {description}"),
        [(field, description), more @ ..] => {
            format!("{field}: {description} (and {} more)", more.len())
        }
    };
    let mut details = ErrorDetails::with_error_info("INVALID_FIELDS", DOMAIN, HashMap::new());
    for (field, description) in violations {
        details.add_bad_request_violation(field, description);
    }
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// No call has this path.
#[must_use]
pub fn unknown_path(path: &str, hint: Option<&str>) -> Status {
    let path: String = path.chars().take(128).collect();
    let hint = hint.map_or_else(
        || "see /v1/openapi.json for what there is".to_owned(),
        |hint| format!("is {hint} meant?"),
    );
    refusal(Code::NotFound, "UNKNOWN_PATH", format!("there is no {path}; {hint}"))
}

/// The path has a call, but not with this method.
#[must_use]
pub fn method_not_allowed(method: &str, allowed: &str) -> Status {
    let message = format!("{method} is not answered here: use one of {allowed}");
    refusal(Code::Unimplemented, METHOD_NOT_ALLOWED, message)
}

/// Path and query are too long.
#[must_use]
pub fn url_too_long(bytes_max: usize) -> Status {
    let message = format!("path and query are over {bytes_max} bytes");
    refusal(Code::InvalidArgument, URL_TOO_LONG, message)
}

/// The body is of a type that is not understood.
#[must_use]
pub fn unsupported_body(message: &str) -> Status {
    refusal(Code::InvalidArgument, UNSUPPORTED_BODY, message)
}

/// A page of this origin may not call.
#[must_use]
pub fn origin_refused(origin: &str) -> Status {
    let message = format!("pages of {origin} may not call: name them in listen.cors_origins");
    refusal(Code::PermissionDenied, "ORIGIN_REFUSED", message)
}

/// Without tokens only callers that name the loopback are answered.
#[must_use]
pub fn host_refused(host: &str) -> Status {
    let message = format!(
        "{host:?} is no name of this host's loopback, and there are no tokens: call 127.0.0.1 or \
         localhost, or set listen.auth.tokens_file"
    );
    refusal(Code::PermissionDenied, "HOST_REFUSED", message)
}

/// An answer of ours cannot be written as JSON: a bug.
#[must_use]
pub fn unreadable_answer(error: &str) -> Status {
    tracing::error!(error, "an answer could not be written as JSON");
    refusal(Code::Internal, "BUG", "the answer cannot be written as JSON; the log has the details")
}

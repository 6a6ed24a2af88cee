//! The statuses that the worker answers its tasks with.

use asyncflow_sdk::{
    Error,
    worker::{CONTEXT_BYTES_MAX, RESULT_BYTES_MAX},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DOMAIN: &str = "asyncflow";

/// No token, or one of no running attempt.
pub fn unknown_attempt() -> Status {
    let details = ErrorDetails::with_error_info("UNKNOWN_ATTEMPT", DOMAIN, []);
    let message = "the token in asyncflow-attempt-token belongs to no running attempt";
    Status::with_error_details(Code::Unauthenticated, message, details)
}

/// A field that has to be there is not.
pub fn missing(field: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, "must be set");
    Status::with_error_details(Code::InvalidArgument, "the request is not valid", details)
}

/// A result over its limit.
pub fn result_too_large(size: usize) -> Status {
    let description = format!("has {size} bytes, at most {RESULT_BYTES_MAX} are allowed");
    let details = ErrorDetails::with_bad_request_violation("result", description);
    Status::with_error_details(Code::InvalidArgument, "the request is not valid", details)
}

/// A context that no task type allows.
pub fn context_too_large(size: usize) -> Status {
    let description = format!("has {size} bytes, at most {CONTEXT_BYTES_MAX} are allowed");
    let details = ErrorDetails::with_bad_request_violation("context", description);
    Status::with_error_details(Code::InvalidArgument, "the request is not valid", details)
}

/// What the broker answered, passed on with reason and violations.
pub fn from_broker(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    if let Some(reason) = error.reason() {
        details.set_error_info(reason, DOMAIN, []);
    }
    for violation in error.violations() {
        details.add_bad_request_violation(violation.field, violation.description);
    }
    Status::with_error_details(error.code(), error.message(), details)
}

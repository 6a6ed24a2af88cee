//! What callers are told when something is refused, in the words of a broker.

use std::collections::HashMap;

use asyncflow_core::{error_reason::ErrorReason, transition::Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(200);

pub fn plain(reason: ErrorReason) -> Status {
    with_metadata(reason, HashMap::new())
}

fn with_metadata(reason: ErrorReason, metadata: HashMap<String, String>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.name(), "asyncflow", metadata);
    if reason.retryable() {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    let code = Code::from_i32(reason.code() as i32);
    Status::with_error_details(code, reason.meaning(), details)
}

pub fn of(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::LeaseLost { .. } => plain(ErrorReason::LeaseLost),
        Refusal::NotYourLease => plain(ErrorReason::NotYourLease),
        Refusal::ContextVersion { current } => {
            let metadata = [("context_version".to_owned(), current.to_string())];
            with_metadata(ErrorReason::ContextVersion, metadata.into())
        }
        _ => plain(ErrorReason::IllegalState),
    }
}

/// Nobody in a play makes such a call.
pub fn unknown_call() -> Status {
    Status::unimplemented("not played here")
}

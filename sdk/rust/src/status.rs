//! The statuses that this side makes up, where no broker has spoken.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1::TaskError;

/// `ErrorInfo.domain`, as a broker has it.
const DOMAIN: &str = "asyncflow";

/// An answer lacks what the protocol says it holds.
pub fn incomplete(what: &str) -> Status {
    Status::data_loss(format!("the answer holds no {what}"))
}

/// tonic reports a deadline that passed on this side as CANCELLED.
pub fn late() -> Status {
    Status::deadline_exceeded("no answer within the deadline")
}

/// The attempt was told that its lease is lost while it waited for an answer: as a broker says it.
pub fn lease_lost() -> Status {
    let details = ErrorDetails::with_error_info("LEASE_LOST", DOMAIN, HashMap::new());
    Status::with_error_details(Code::Aborted, "the lease is lost", details)
}

/// A stream that should not end has ended.
pub fn stream_ended() -> Status {
    Status::unavailable("the stream ended")
}

/// The answer that one of many tasks got, as a call about it alone would have got it.
pub(crate) fn of_result(error: TaskError) -> Status {
    let TaskError { code, message, status } = error;
    Status::with_details(Code::from_i32(code), message, status.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_lost_is_told_as_a_broker_tells_it() {
        let error = crate::Error::from(lease_lost());
        assert!(error.has_reason("LEASE_LOST"));
    }
}

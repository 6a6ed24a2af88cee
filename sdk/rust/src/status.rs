//! The statuses that this side makes up, where no broker has spoken.

use tonic::{Code, Status};

use crate::v1::TaskError;

/// An answer lacks what the protocol says it holds.
pub fn incomplete(what: &str) -> Status {
    Status::data_loss(format!("the answer holds no {what}"))
}

/// tonic reports a deadline that passed on this side as CANCELLED.
pub fn late() -> Status {
    Status::deadline_exceeded("no answer within the deadline")
}

/// The attempt was told that its lease is lost while it waited for an answer.
pub fn lease_lost() -> Status {
    Status::aborted("the lease is lost")
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

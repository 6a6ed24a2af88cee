//! The statuses that this side makes up, where no broker has spoken.

use tonic::Status;

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

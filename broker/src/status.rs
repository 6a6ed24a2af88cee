//! The one place of this crate where a [`Status`] is built.
//!
//! Every refusal carries an `ErrorInfo` with a reason of [`ErrorReason`], every INVALID_ARGUMENT a
//! `BadRequest` with all violations, everything that may be tried again a `RetryInfo`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use asyncflow_core::{
    error_reason::ErrorReason, etag, id::TaskId, transition::Refusal, violation::Violations,
};
use asyncflow_proto::{CONTEXT_VERSION_METADATA, v1};
use asyncflow_store::StoreError;
use tokio::time::Instant;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{batch::BatchError, clock, error::RpcError};

/// `ErrorInfo.domain` of all that asyncflow refuses.
const DOMAIN: &str = "asyncflow";
/// What a refused caller should wait at least before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A full queue empties within a few commits.
const RETRY_AFTER_FULL: Duration = Duration::from_millis(100);

/// An outage refuses thousands of calls in a second; whoever looks at the log needs one line.
static OUTAGE_LINES: Sparse = Sparse(Mutex::new(None));
const OUTAGE_LINE_INTERVAL: Duration = Duration::from_secs(5);

/// When the last of some lines was written.
struct Sparse(Mutex<Option<Instant>>);

impl Sparse {
    fn may_write(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.duration_since(last) >= OUTAGE_LINE_INTERVAL);
        if may {
            *last = Some(now);
        }
        may
    }
}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        let message = error.to_string();
        match error {
            RpcError::Invalid(violations) => invalid(violations),
            RpcError::UnknownType(name) => {
                let none = HashMap::new();
                not_found(ErrorReason::UnknownTaskType, "task type", name.as_str(), message, none)
            }
            RpcError::TypeExists(_) => plain(ErrorReason::AlreadyExists, message),
            RpcError::TaskNotFound(id) | RpcError::Deleted(id) => {
                task_not_found(ErrorReason::TaskNotFound, &id, message, HashMap::new())
            }
            RpcError::Expired { id, archive } => {
                let archive = Some(archive).filter(|archive| !archive.is_empty());
                let metadata = archive.map(|archive| ("archive".to_owned(), archive));
                let metadata = metadata.into_iter().collect();
                task_not_found(ErrorReason::Expired, &id, message, metadata)
            }
            RpcError::RequestIdReused(id) => reused("task_id", id.to_string(), message),
            RpcError::WorkflowNotFound(id) => {
                let (reason, id) = (ErrorReason::WorkflowNotFound, id.to_string());
                not_found(reason, "workflow", &id, message, HashMap::new())
            }
            RpcError::WorkflowRequestIdReused(id) => reused("workflow_id", id.to_string(), message),
            RpcError::InVain(_) => plain(ErrorReason::PredecessorUnmet, message),
            RpcError::HostNotFound(_)
            | RpcError::GpuNotFound(..)
            | RpcError::GpuProcessNotFound(..) => of_host(error, message),
            RpcError::NotSignalled(_)
            | RpcError::NotHandedOver(_)
            | RpcError::WorkflowRefused(..)
            | RpcError::WorkflowIsOver(_) => plain(ErrorReason::IllegalState, message),
            RpcError::OperationNotFound(id) => {
                let (reason, id) = (ErrorReason::OperationNotFound, id.to_string());
                not_found(reason, "operation", &id, message, HashMap::new())
            }
            RpcError::OperationRequestIdReused(id) => {
                reused("operation_id", id.to_string(), message)
            }
            RpcError::TooManyOperations(_) => plain(ErrorReason::TooManyOperations, message),
            RpcError::ScheduleNotFound(id) => {
                let (reason, id) = (ErrorReason::ScheduleNotFound, id.to_string());
                not_found(reason, "schedule", &id, message, HashMap::new())
            }
            RpcError::ScheduleRequestIdReused(id) => reused("schedule_id", id.to_string(), message),
            RpcError::Refused(refusal) => refused(&refusal, message),
            RpcError::UnknownSession => plain(ErrorReason::UnknownSession, message),
            RpcError::Forbidden(_) | RpcError::NotItsType(_) => {
                plain(ErrorReason::PermissionDenied, message)
            }
            RpcError::ResumeTokenTooOld => plain(ErrorReason::ResumeTokenTooOld, message),
            RpcError::SlowReader | RpcError::Batch(BatchError::Full) => {
                retryable(ErrorReason::Overloaded, message, RETRY_AFTER_FULL)
            }
            RpcError::Batch(BatchError::Broken) => plain(ErrorReason::Internal, message),
            RpcError::Batch(BatchError::Closed) | RpcError::ShuttingDown => {
                plain(ErrorReason::ShuttingDown, message)
            }
            RpcError::Store(error) => store(&error),
        }
    }
}

/// Something else was made under that request id.
fn reused(key: &str, id: String, message: String) -> Status {
    let metadata = HashMap::from([(key.to_owned(), id)]);
    with_metadata(ErrorReason::RequestIdReused, message, metadata)
}

/// The server did not say who calls: a defect, never a caller's mistake.
pub fn no_identity() -> Status {
    tracing::error!("a call reached its handler without an identity");
    plain(ErrorReason::Internal, ErrorReason::Internal.meaning().to_owned())
}

/// A status with reason, and with `RetryInfo` where the reason allows another try.
fn plain(reason: ErrorReason, message: String) -> Status {
    with_metadata(reason, message, HashMap::new())
}

fn with_metadata(
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata);
    if reason.retryable() {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code(reason), message, details)
}

fn retryable(reason: ErrorReason, message: String, after: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
    details.set_retry_info(Some(after));
    Status::with_error_details(code(reason), message, details)
}

fn code(reason: ErrorReason) -> Code {
    Code::from_i32(reason.code() as i32)
}

fn invalid(violations: Violations) -> Status {
    let message = violations.to_string();
    let reason = ErrorReason::InvalidFields;
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
    for violation in violations.into_list() {
        details.add_bad_request_violation(violation.field, violation.description);
    }
    Status::with_error_details(code(reason), message, details)
}

fn task_not_found(
    reason: ErrorReason,
    id: &TaskId,
    message: String,
    metadata: HashMap<String, String>,
) -> Status {
    not_found(reason, "task", &id.to_string(), message, metadata)
}

/// A host, or something of one, that is not there.
fn of_host(error: RpcError, message: String) -> Status {
    let none = HashMap::new();
    match error {
        RpcError::GpuNotFound(_, uuid) | RpcError::GpuProcessNotFound(_, uuid, _) => {
            not_found(ErrorReason::GpuNotFound, "gpu", &uuid, message, none)
        }
        RpcError::HostNotFound(id) => {
            not_found(ErrorReason::HostNotFound, "host", &id, message, none)
        }
        _ => plain(ErrorReason::Internal, message),
    }
}

fn not_found(
    reason: ErrorReason,
    kind: &str,
    name: &str,
    message: String,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata);
    details.set_resource_info(kind, name, "", message.clone());
    Status::with_error_details(code(reason), message, details)
}

fn refused(refusal: &Refusal, message: String) -> Status {
    match refusal {
        Refusal::LeaseLost { .. } => plain(ErrorReason::LeaseLost, message),
        Refusal::NotYourLease => plain(ErrorReason::NotYourLease, message),
        // `AlreadyDone` is answered with OK where it can happen; elsewhere nothing can be changed.
        Refusal::IllegalState { .. }
        | Refusal::OfWorkflow(..)
        | Refusal::OfLiveWorkflow(_)
        | Refusal::Twin(_)
        | Refusal::AlreadyDone => plain(ErrorReason::IllegalState, message),
        Refusal::Revision { current } => {
            let metadata = HashMap::from([("etag".to_owned(), etag::of(*current))]);
            with_metadata(ErrorReason::RevisionMismatch, message, metadata)
        }
        Refusal::ContextVersion { current } => {
            let metadata = HashMap::from([("context_version".to_owned(), current.to_string())]);
            let mut status = with_metadata(ErrorReason::ContextVersion, message, metadata);
            status.metadata_mut().insert(CONTEXT_VERSION_METADATA, MetadataValue::from(*current));
            status
        }
    }
}

fn store(error: &StoreError) -> Status {
    if let StoreError::Conflict { current } = error {
        return refused(&Refusal::Revision { current: *current }, error.to_string());
    }
    let reason = match error {
        _ if error.is_outcome_unknown() => ErrorReason::CommitUnconfirmed,
        StoreError::Contended(_) => ErrorReason::Contention,
        _ if error.is_retryable() => ErrorReason::DatabaseUnavailable,
        _ => ErrorReason::Internal,
    };
    // The cause may name hosts and tables: it belongs into the log.
    match reason {
        ErrorReason::Internal => tracing::error!(%error, "the store failed"),
        _ if OUTAGE_LINES.may_write(clock::now()) => {
            tracing::warn!(%error, "the store is unavailable");
        }
        _ => tracing::debug!(%error, "the store is unavailable"),
    }
    plain(reason, reason.meaning().to_owned())
}

/// What a call about this task alone would have answered.
pub fn task_error(error: RpcError) -> v1::TaskError {
    let status = Status::from(error);
    let (code, message) = (status.code() as i32, status.message().to_owned());
    v1::TaskError { code, message, status: status.details().to_vec() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_wrong_context_version_is_told_in_the_metadata_too() {
        let status = Status::from(RpcError::Refused(Refusal::ContextVersion { current: 7 }));
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.metadata().get(CONTEXT_VERSION_METADATA).unwrap(), "7");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "CONTEXT_VERSION");
    }

    #[test]
    fn an_outage_writes_a_line_now_and_then() {
        let (lines, now) = (Sparse(Mutex::new(None)), clock::now());
        let written = (0..1_000).filter(|ms| lines.may_write(now + Duration::from_millis(*ms)));
        assert_eq!(written.count(), 1);
        assert!(lines.may_write(now + OUTAGE_LINE_INTERVAL));
    }

    #[test]
    fn a_full_queue_is_retryable_and_an_unknown_task_is_not() {
        let full = Status::from(RpcError::Batch(BatchError::Full));
        assert_eq!(full.code(), Code::ResourceExhausted);
        assert!(full.get_error_details().retry_info().is_some());
        let id: TaskId = "train-1-0000000000001".parse().unwrap();
        let unknown = Status::from(RpcError::TaskNotFound(id));
        assert_eq!(unknown.code(), Code::NotFound);
        assert!(unknown.get_error_details().retry_info().is_none());
        assert_eq!(
            unknown.get_error_details().resource_info().unwrap().resource_name,
            "train-1-0000000000001"
        );
    }
}

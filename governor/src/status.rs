//! The only place of this crate where a [`Status`] is built.
//!
//! Every refusal carries an `ErrorInfo.reason` (a key into `docs/errors/`), every retryable one a
//! `RetryInfo`, every INVALID_ARGUMENT all that is wrong.

use crate::{archive::ArchivingError, lead::ResignError, schedule::RunError};
use asyncflow_core::{
    error_reason::ErrorReason,
    id::{ShardId, TypeName},
    violation::Violations,
};
use asyncflow_service::status::DOMAIN;
use asyncflow_store::StoreError;
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

const RETRY_AFTER: Duration = Duration::from_secs(1);

fn refusal(reason: ErrorReason, message: &str) -> Status {
    Status::with_error_details(Code::from(reason.code() as i32), message, details(reason))
}

fn details(reason: ErrorReason) -> ErrorDetails {
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, HashMap::new());
    if reason.retryable() {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    details
}

/// Some fields are wrong.
pub(crate) fn invalid(violations: Violations) -> Status {
    let reason = ErrorReason::InvalidFields;
    let message = violations.to_string();
    let fields = violations
        .into_list()
        .into_iter()
        .map(|violation| FieldViolation::new(violation.field, violation.description));
    let mut details = details(reason);
    details.set_bad_request(fields.collect::<Vec<_>>());
    Status::with_error_details(Code::from(reason.code() as i32), message, details)
}

/// There is no such duty.
pub(crate) fn unknown_duty(known: &str) -> Status {
    refusal(ErrorReason::UnknownDuty, &format!("there is no such duty; there are {known}"))
}

/// There is no such task type.
pub(crate) fn unknown_task_type(name: &TypeName) -> Status {
    refusal(ErrorReason::UnknownTaskType, &format!("there is no task type {name}"))
}

/// There is no such shard.
pub(crate) fn shard_not_found(id: &ShardId) -> Status {
    let ShardId { task_type, number } = id;
    refusal(ErrorReason::ShardNotFound, &format!("there is no shard {task_type}-{number}"))
}

/// What is in the shard forbids it.
pub(crate) fn shard_in_use(id: &ShardId, obstacle: &str) -> Status {
    let ShardId { task_type, number } = id;
    refusal(ErrorReason::ShardInUse, &format!("shard {task_type}-{number}: {obstacle}"))
}

/// Somebody read the shard's tables for too long, or is changing them.
pub(crate) fn shard_busy(id: &ShardId) -> Status {
    let ShardId { task_type, number } = id;
    let message = format!("somebody uses the tables of shard {task_type}-{number}; try later");
    refusal(ErrorReason::Contention, &message)
}

/// The shard was not archived. The log has the details, which may name hosts.
pub(crate) fn archive(id: &ShardId, error: &ArchivingError) -> Status {
    match error {
        ArchivingError::NoArchive => {
            refusal(ErrorReason::NoArchive, "the governor has no archive: archive.url is not set")
        }
        ArchivingError::NoSuchShard(id) => shard_not_found(id),
        ArchivingError::NotDrained(id) => {
            shard_in_use(id, "it is open or some of its tasks are not terminal")
        }
        ArchivingError::Store(StoreError::Conflict { .. }) => {
            shard_in_use(id, "a task of it was retried meanwhile")
        }
        ArchivingError::Store(error) => store(error),
        ArchivingError::Archive(error) => {
            tracing::error!(%error, "a shard was not archived");
            let message = "the archive cannot be used; the governor's log says why";
            refusal(ErrorReason::ArchiveUnavailable, message)
        }
    }
}

/// This governor stands by; `leader` is the one that leads, as far as it knows.
pub(crate) fn not_leader(leader: Option<String>) -> Status {
    let reason = ErrorReason::NotLeader;
    let message = match &leader {
        Some(other) => format!("this governor stands by; {other} leads, or did a moment ago"),
        None => "this governor stands by; another one leads, or soon one will".to_owned(),
    };
    let metadata: HashMap<String, String> =
        leader.into_iter().map(|leader| ("leader".to_owned(), leader)).collect();
    let mut details = ErrorDetails::with_error_info(reason.name(), DOMAIN, metadata);
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(Code::from(reason.code() as i32), message, details)
}

/// The database could not do it. The log has the details, which may name hosts.
pub(crate) fn store(error: &StoreError) -> Status {
    match error {
        StoreError::NotLeader => not_leader(None),
        error if error.is_outcome_unknown() => refusal(
            ErrorReason::CommitUnconfirmed,
            "the connection broke while a commit was under way",
        ),
        StoreError::Contended(_) | StoreError::NoSuchTable(_) => {
            refusal(ErrorReason::Contention, "somebody else changes the same; try again")
        }
        error if error.is_retryable() => {
            refusal(ErrorReason::DatabaseUnavailable, "the database does not answer")
        }
        error => {
            tracing::error!(%error, "the store failed");
            refusal(ErrorReason::Internal, "the governor met a bug; its log has the details")
        }
    }
}

/// A duty was not run, or not well.
pub(crate) fn run(error: &RunError, leader: Option<String>) -> Status {
    match error {
        RunError::NotLeader => not_leader(leader),
        RunError::Store(error) => store(error),
    }
}

/// The lead was not given up.
pub(crate) fn resign(error: &ResignError, leader: Option<String>) -> Status {
    match error {
        ResignError::NotLeader => not_leader(leader),
        ResignError::Store(error) => store(error),
    }
}

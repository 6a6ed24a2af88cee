//! Operations.

use asyncflow_core::validate::operation::OperationInput;
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{Matching, Operation};

use super::task::state;

/// What all requests for operations have; the rest is for the verb to fill in.
pub fn input(selection: Option<v1::TaskSelection>, request_id: String) -> OperationInput {
    let v1::TaskSelection { filter, all, max_tasks } = selection.unwrap_or_default();
    OperationInput { filter, all, changes_max: max_tasks, request_id, ..OperationInput::default() }
}

/// How many tasks match.
pub fn matching(matching: &Matching) -> v1::MatchingTasks {
    let counts = matching.by_state.iter();
    let counts =
        counts.map(|(of, count)| v1::StateCount { state: state(*of).into(), count: *count });
    v1::MatchingTasks {
        total: matching.total(),
        at_least: matching.at_least,
        counts: counts.collect(),
    }
}

/// An operation as it is.
pub fn to_proto(operation: Operation) -> v1::Operation {
    let Operation { request, tally, .. } = operation;
    let issues = operation.issues.into_iter();
    let selection = v1::TaskSelection {
        all: request.filter.trim().is_empty(),
        filter: request.filter,
        max_tasks: request.changes_max.unwrap_or_default(),
    };
    v1::Operation {
        id: operation.id.to_string(),
        // The numbers are those of the protocol.
        kind: request.kind.code().into(),
        state: operation.state.code().into(),
        user: request.user,
        selection: Some(selection),
        only_user: request.only_user.unwrap_or_default(),
        matched_count: tally.matched,
        changed_count: tally.changed,
        skipped_count: tally.skipped,
        failed_count: tally.failed,
        issues: issues
            .map(|issue| v1::OperationIssue { task_id: issue.task_id, message: issue.message })
            .collect(),
        message: operation.error.unwrap_or_default(),
        create_time: Some(timestamp(operation.create_time_ms)),
        update_time: Some(timestamp(operation.update_time_ms)),
        finish_time: operation.finish_time_ms.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asyncflow_core::operation::{OperationKind, OperationState};

    #[test]
    fn the_numbers_are_those_of_the_protocol() {
        for known in OperationKind::ALL {
            let proto = v1::OperationKind::try_from(i32::from(known.code()));
            let name = proto.map(|kind| kind.as_str_name().to_lowercase());
            assert_eq!(name, Ok(format!("operation_kind_{known:?}").to_lowercase()));
        }
        for known in OperationState::ALL {
            let proto = v1::OperationState::try_from(i32::from(known.code()));
            let name = proto.map(|state| state.as_str_name().to_lowercase());
            assert_eq!(name, Ok(format!("operation_state_{known:?}").to_lowercase()));
        }
    }
}

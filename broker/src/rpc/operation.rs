//! Verbs on operations.

pub mod bulk_cancel_tasks;
pub mod bulk_delete_tasks;
pub mod bulk_purge_tasks;
pub mod bulk_retry_tasks;
pub mod cancel_operation;
pub mod get_operation;
pub mod list_operations;
pub mod wait_operation;

use asyncflow_core::{
    access::Principal,
    id::OperationId,
    operation::{NewOperation, OperationKind},
    validate::{
        at::At,
        operation::{OperationInput, new_operation, restrict},
        text,
    },
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{CreateOperationError, CreatedOperation, Matching, Operation};

use crate::{broker::Broker, convert, error::RpcError};

/// The operation that a request names.
fn operation_id(value: &str) -> Result<OperationId, RpcError> {
    let mut violations = Violations::new();
    let id = text::operation_id(value, At::REQUEST.field("operation_id"), &mut violations);
    Ok(violations.ok_or(id)?)
}

/// Reads an operation that must be there.
async fn get(broker: &Broker, id: OperationId) -> Result<Operation, RpcError> {
    broker.store.find_operation(id).await?.ok_or(RpcError::OperationNotFound(id))
}

/// What the requests for the kinds of operations have in common.
struct Request {
    kind: OperationKind,
    input: OperationInput,
    validate_only: bool,
}

/// What their answers have in common.
struct Answer {
    operation: Option<v1::Operation>,
    deduplicated: bool,
    matching: Option<v1::MatchingTasks>,
}

/// Checks everything → may the caller → count, or begin.
async fn begin(broker: &Broker, caller: &Principal, request: Request) -> Result<Answer, RpcError> {
    let mut violations = Violations::new();
    let new = new_operation(request.input, request.kind, &caller.user, &mut violations);
    let mut new = violations.ok_or(new)?;
    restrict(&mut new, caller)?;
    if request.validate_only {
        let matching = convert::operation::matching(&count(broker, &new).await?);
        return Ok(Answer { operation: None, deduplicated: false, matching: Some(matching) });
    }
    match broker.store.create_operation(&new, broker.config.limits.operations_per_user_max).await {
        Ok(CreatedOperation { operation, deduplicated }) => {
            let operation = Some(convert::operation::to_proto(operation));
            Ok(Answer { operation, deduplicated, matching: None })
        }
        Err(CreateOperationError::RequestIdReused(id)) => {
            Err(RpcError::OperationRequestIdReused(id))
        }
        Err(CreateOperationError::TooMany(most)) => Err(RpcError::TooManyOperations(most)),
        Err(CreateOperationError::Store(error)) => Err(error.into()),
    }
}

async fn count(broker: &Broker, new: &NewOperation) -> Result<Matching, RpcError> {
    Ok(broker.store.matching(&new.chosen()?).await?)
}

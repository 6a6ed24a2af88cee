//! BulkCancelTasks: begins to cancel all tasks that match a filter.

use asyncflow_core::{
    access::Principal, operation::OperationKind, validate::operation::OperationInput,
};
use asyncflow_proto::v1;

use super::{Answer, Request, begin};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn bulk_cancel_tasks(
    broker: &Broker,
    caller: &Principal,
    request: v1::BulkCancelTasksRequest,
) -> Result<v1::BulkCancelTasksResponse, RpcError> {
    let validate_only = request.validate_only;
    let input = OperationInput {
        message: request.reason,
        ..convert::operation::input(request.selection, request.request_id)
    };
    let request = Request { kind: OperationKind::Cancel, input, validate_only };
    let Answer { operation, deduplicated, matching } = begin(broker, caller, request).await?;
    Ok(v1::BulkCancelTasksResponse { operation, deduplicated, matching })
}

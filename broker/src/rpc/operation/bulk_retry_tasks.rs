//! BulkRetryTasks: begins to retry all tasks that match a filter.

use asyncflow_core::{
    access::Principal, operation::OperationKind, validate::operation::OperationInput,
};
use asyncflow_proto::v1;

use super::{Answer, Request, begin};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn bulk_retry_tasks(
    broker: &Broker,
    caller: &Principal,
    request: v1::BulkRetryTasksRequest,
) -> Result<v1::BulkRetryTasksResponse, RpcError> {
    let validate_only = request.validate_only;
    let input = OperationInput {
        from_start: request.from_start,
        ..convert::operation::input(request.selection, request.request_id)
    };
    let request = Request { kind: OperationKind::Retry, input, validate_only };
    let Answer { operation, deduplicated, matching } = begin(broker, caller, request).await?;
    Ok(v1::BulkRetryTasksResponse { operation, deduplicated, matching })
}

//! BulkDeleteTasks: begins to delete all tasks that match a filter and do not run.

use asyncflow_core::{access::Principal, operation::OperationKind};
use asyncflow_proto::v1;

use super::{Answer, Request, begin};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn bulk_delete_tasks(
    broker: &Broker,
    caller: &Principal,
    request: v1::BulkDeleteTasksRequest,
) -> Result<v1::BulkDeleteTasksResponse, RpcError> {
    let validate_only = request.validate_only;
    let input = convert::operation::input(request.selection, request.request_id);
    let request = Request { kind: OperationKind::Delete, input, validate_only };
    let Answer { operation, deduplicated, matching } = begin(broker, caller, request).await?;
    Ok(v1::BulkDeleteTasksResponse { operation, deduplicated, matching })
}

//! BulkPurgeTasks: begins to delete all tasks that match a filter and have ended.

use asyncflow_core::{access::Principal, operation::OperationKind};
use asyncflow_proto::v1;

use super::{Answer, Request, begin};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn bulk_purge_tasks(
    broker: &Broker,
    caller: &Principal,
    request: v1::BulkPurgeTasksRequest,
) -> Result<v1::BulkPurgeTasksResponse, RpcError> {
    let validate_only = request.validate_only;
    let input = convert::operation::input(request.selection, request.request_id);
    let request = Request { kind: OperationKind::Purge, input, validate_only };
    let Answer { operation, deduplicated, matching } = begin(broker, caller, request).await?;
    Ok(v1::BulkPurgeTasksResponse { operation, deduplicated, matching })
}

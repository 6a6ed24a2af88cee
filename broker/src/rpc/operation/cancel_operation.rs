//! CancelOperation: nothing more is changed from the answer on.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;

use super::{get, operation_id};
use crate::{broker::Broker, convert, error::RpcError, principal::permit_user};

pub async fn cancel_operation(
    broker: &Broker,
    caller: &Principal,
    request: v1::CancelOperationRequest,
) -> Result<v1::CancelOperationResponse, RpcError> {
    let id = operation_id(&request.operation_id)?;
    permit_user(caller, &get(broker, id).await?.request.user)?;
    let cancelled = broker.store.cancel_operation(id).await?;
    let operation = cancelled.ok_or(RpcError::OperationNotFound(id))?;
    Ok(v1::CancelOperationResponse { operation: Some(convert::operation::to_proto(operation)) })
}

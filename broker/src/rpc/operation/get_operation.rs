//! GetOperation: how far it is.

use asyncflow_proto::v1;

use super::{get, operation_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn get_operation(
    broker: &Broker,
    request: v1::GetOperationRequest,
) -> Result<v1::GetOperationResponse, RpcError> {
    let operation = get(broker, operation_id(&request.operation_id)?).await?;
    Ok(v1::GetOperationResponse { operation: Some(convert::operation::to_proto(operation)) })
}

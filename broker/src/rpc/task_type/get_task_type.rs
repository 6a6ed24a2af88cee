//! GetTaskType.

use asyncflow_core::{
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn get_task_type(
    broker: &Broker,
    request: v1::GetTaskTypeRequest,
) -> Result<v1::GetTaskTypeResponse, RpcError> {
    let mut violations = Violations::new();
    let name = text::type_name(&request.name, At::REQUEST.field("name"), &mut violations);
    let name = violations.ok_or(name)?;
    let found = broker.store.get_type(&name).await?.ok_or(RpcError::UnknownType(name))?;
    Ok(v1::GetTaskTypeResponse { task_type: Some(convert::task_type::to_proto(found)) })
}

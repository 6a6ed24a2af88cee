//! CreateTaskType: what is left out gets its default.

use asyncflow_core::{
    task_type::TaskType,
    validate::{at::At, task_type},
    violation::Violations,
};
use asyncflow_proto::v1;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn create_task_type(
    broker: &Broker,
    request: v1::CreateTaskTypeRequest,
) -> Result<v1::CreateTaskTypeResponse, RpcError> {
    let mut violations = Violations::new();
    let Some(new) = request.task_type else {
        violations.add(At::REQUEST.field("task_type"), "must be given");
        return Err(violations.into());
    };
    let input = convert::task_type::created(new, &mut violations);
    let name = violations.joined(task_type::task_type(&input))?;

    let mut new = TaskType::with_defaults(name.clone(), broker.store.now_ms().await?);
    input.apply_to(&mut new);
    if !broker.store.create_type(new).await? {
        return Err(RpcError::TypeExists(name));
    }
    let created = broker.store.get_type(&name).await?;
    let created = created.ok_or(RpcError::UnknownType(name))?;
    Ok(v1::CreateTaskTypeResponse { task_type: Some(convert::task_type::to_proto(created)) })
}

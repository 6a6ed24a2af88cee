//! UpdateTaskType: the fields in the mask; brokers follow within seconds.

use asyncflow_core::{validate::task_type, violation::Violations};
use asyncflow_proto::v1;
use asyncflow_store::{StoreError, wake::type_topic};

use crate::{broker::Broker, convert, error::RpcError};

pub async fn update_task_type(
    broker: &Broker,
    request: v1::UpdateTaskTypeRequest,
) -> Result<v1::UpdateTaskTypeResponse, RpcError> {
    let mut violations = Violations::new();
    let (input, expected_revision) = convert::task_type::updated(request, &mut violations);
    let name = violations.joined(task_type::task_type(&input))?;

    let change = |task_type: &mut _| input.apply_to(task_type);
    let updated = broker.store.update_type(&name, expected_revision, change).await;
    let updated = updated.map_err(|error| match error {
        StoreError::NotFound => RpcError::UnknownType(name.clone()),
        error => RpcError::Store(error),
    })?;
    // A type that was resumed has work for those who wait.
    broker.store.wake().ring([type_topic(name.as_str())]);
    Ok(v1::UpdateTaskTypeResponse { task_type: Some(convert::task_type::to_proto(updated)) })
}

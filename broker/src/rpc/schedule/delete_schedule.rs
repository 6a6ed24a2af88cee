//! DeleteSchedule: it fires no more; what it has made stays.

use asyncflow_core::{
    access::Principal,
    validate::{at::At, patch},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{owned, refused, schedule_id};
use crate::{broker::Broker, error::RpcError};

pub async fn delete_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::DeleteScheduleRequest,
) -> Result<v1::DeleteScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    let mut violations = Violations::new();
    let revision = patch::revision(&request.etag, At::REQUEST.field("etag"), &mut violations);
    violations.none()?;
    owned(broker, caller, id).await?;
    let deleted = broker.store.delete_schedule(id, revision).await;
    deleted.map_err(|error| refused(id, error))?;
    Ok(v1::DeleteScheduleResponse {})
}

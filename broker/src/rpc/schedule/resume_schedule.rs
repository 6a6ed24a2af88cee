//! ResumeSchedule: it fires from the first of its times that is still to come.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;

use super::{found, owned, refused, schedule_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn resume_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::ResumeScheduleRequest,
) -> Result<v1::ResumeScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    owned(broker, caller, id).await?;
    broker.store.resume_schedule(id).await.map_err(|error| refused(id, error))?;
    let schedule = found(broker, id).await?;
    Ok(v1::ResumeScheduleResponse { schedule: Some(convert::schedule::to_proto(schedule)) })
}

//! GetSchedule: the schedule and what became of its last fire times.

use asyncflow_proto::v1;

use super::{found, schedule_id};
use crate::{broker::Broker, convert, error::RpcError};

/// Fire times that are told.
const FIRES_MAX: u32 = 20;

pub async fn get_schedule(
    broker: &Broker,
    request: v1::GetScheduleRequest,
) -> Result<v1::GetScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    let schedule = found(broker, id).await?;
    let fires = broker.store.list_fires(id, FIRES_MAX).await?;
    Ok(v1::GetScheduleResponse {
        schedule: Some(convert::schedule::to_proto(schedule)),
        fires: fires.into_iter().map(convert::schedule::fire).collect(),
    })
}

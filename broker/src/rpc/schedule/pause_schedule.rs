//! PauseSchedule: it fires nothing until it is resumed.

use asyncflow_core::access::Principal;
use asyncflow_proto::v1;

use super::{found, owned, refused, schedule_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn pause_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::PauseScheduleRequest,
) -> Result<v1::PauseScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    owned(broker, caller, id).await?;
    broker.store.pause_schedule(id).await.map_err(|error| refused(id, error))?;
    let schedule = found(broker, id).await?;
    Ok(v1::PauseScheduleResponse { schedule: Some(convert::schedule::to_proto(schedule)) })
}

//! CreateSchedule: check everything → may the caller → the types → one transaction.

use asyncflow_core::{access::Principal, validate::schedule::Moment, violation::Violations};
use asyncflow_proto::v1;
use asyncflow_store::CreateScheduleError;

use super::checked;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn create_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::CreateScheduleRequest,
) -> Result<v1::CreateScheduleResponse, RpcError> {
    let v1::CreateScheduleRequest { schedule, request_id, validate_only } = request;
    let now_ms = broker.store.now_ms().await?;
    let moment = Moment { now_ms, created_ms: now_ms, must_fire: true };
    let asked = (schedule.unwrap_or_default(), request_id);
    let new = checked(broker, caller, asked, moment, Violations::new(), validate_only).await?;
    if validate_only {
        return Ok(v1::CreateScheduleResponse::default());
    }
    match broker.store.create_schedule(&new).await {
        Ok(created) => Ok(v1::CreateScheduleResponse {
            schedule: Some(convert::schedule::to_proto(created.schedule)),
            deduplicated: created.deduplicated,
        }),
        Err(CreateScheduleError::RequestIdReused(id)) => Err(RpcError::ScheduleRequestIdReused(id)),
        Err(CreateScheduleError::Store(error)) => Err(error.into()),
    }
}

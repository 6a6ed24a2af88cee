//! RunSchedule: makes at once what the schedule makes.

use asyncflow_core::{
    access::Principal,
    limits::REQUEST_ID_BYTES_MAX,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{owned, refused, schedule_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn run_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::RunScheduleRequest,
) -> Result<v1::RunScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    let request_id = Some(request.request_id.as_str()).filter(|id| !id.is_empty());
    let mut violations = Violations::new();
    if let Some(request_id) = request_id {
        let at = At::REQUEST.field("request_id");
        text::required_line(request_id, REQUEST_ID_BYTES_MAX, at, &mut violations);
    }
    violations.none()?;
    owned(broker, caller, id).await?;
    let ran = broker.store.run_schedule(id, request_id).await;
    let ran = ran.map_err(|error| refused(id, error))?;
    broker.dispatch.note(ran.made.iter());
    Ok(v1::RunScheduleResponse {
        fire: Some(convert::schedule::fire(ran.fire)),
        deduplicated: ran.deduplicated,
    })
}

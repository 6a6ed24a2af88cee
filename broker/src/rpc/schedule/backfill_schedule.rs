//! BackfillSchedule: the fire times of an interval of the past, each exactly once.

use asyncflow_core::{
    access::Principal,
    schedule::spec::Times,
    validate::{at::At, schedule},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::{owned, refused, schedule_id};
use crate::{
    broker::Broker,
    convert::{self, time},
    error::RpcError,
};

pub async fn backfill_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::BackfillScheduleRequest,
) -> Result<v1::BackfillScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    let mut violations = Violations::new();
    let mut border_ms = |value: &Option<_>, name| {
        if value.is_none() {
            violations.add(name, "must be given");
        }
        time::timestamp_ms(value.as_ref(), At::REQUEST.field(name), &mut violations)
    };
    let from_ms = border_ms(&request.start_time, "start_time");
    let to_ms = border_ms(&request.end_time, "end_time");
    let (from_ms, to_ms) = violations.ok_or(from_ms.zip(to_ms))?;

    let stored = owned(broker, caller, id).await?;
    let now_ms = broker.store.now_ms().await?;
    let times = Times::new(&stored.spec).map_err(|what| RpcError::field("schedule_id", what))?;
    let mut violations = Violations::new();
    let times = schedule::backfill(&times, from_ms, to_ms, now_ms, &mut violations);
    violations.none()?;
    let filled = broker.store.backfill_schedule(id, &times).await;
    let filled = filled.map_err(|error| refused(id, error))?;
    broker.dispatch.note(filled.made.iter());
    Ok(v1::BackfillScheduleResponse {
        fires: filled.fires.into_iter().map(convert::schedule::fire).collect(),
        already_fired_count: i32::try_from(filled.already).unwrap_or(i32::MAX),
    })
}

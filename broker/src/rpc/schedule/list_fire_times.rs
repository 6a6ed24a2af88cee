//! ListFireTimes: of a schedule that is there, or of one that might be.

use asyncflow_core::{
    access::Principal,
    schedule::spec::Times,
    validate::{
        at::At,
        schedule::{self, Moment},
    },
    violation::Violations,
};
use asyncflow_proto::{time::timestamp, v1};

use super::{found, schedule_id};
use crate::{
    broker::Broker,
    convert::{self, time},
    error::RpcError,
};

pub async fn list_fire_times(
    broker: &Broker,
    caller: &Principal,
    request: v1::ListFireTimesRequest,
) -> Result<v1::ListFireTimesResponse, RpcError> {
    let mut violations = Violations::new();
    let count = schedule::fire_times(request.count, &mut violations);
    let after = At::REQUEST.field("after");
    let after_ms = time::timestamp_ms(request.after.as_ref(), after, &mut violations);
    let now_ms = broker.store.now_ms().await?;
    let spec = match request.schedule {
        Some(_) if !request.schedule_id.is_empty() => {
            violations.add("schedule", "must be empty when schedule_id is given");
            None
        }
        Some(mut spec) => {
            spec.user.clone_from(&caller.user);
            let at = At::REQUEST.field("schedule");
            let input = convert::schedule::input(&spec, at, &mut violations);
            let moment = Moment { now_ms, created_ms: now_ms, must_fire: false };
            schedule::schedule(&input, At::REQUEST, moment, &mut violations)
        }
        None => {
            let id = schedule_id(&request.schedule_id)?;
            Some(found(broker, id).await?.spec)
        }
    };
    let spec = violations.ok_or(spec)?;
    let times = Times::new(&spec).map_err(|what| RpcError::field("schedule_id", what))?;
    let fire_times = times.after(after_ms.unwrap_or(now_ms)).take(count);
    Ok(v1::ListFireTimesResponse { fire_times: fire_times.map(timestamp).collect() })
}

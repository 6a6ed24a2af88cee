//! UpdateSchedule: the stored one with the fields in the mask, checked as a new one.

use asyncflow_core::{
    access::Principal,
    validate::{at::At, patch, schedule::Moment},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{NewSchedule, ScheduleChange};

use super::{checked, found, owned, refused, schedule_id};
use crate::{broker::Broker, convert, error::RpcError};

pub async fn update_schedule(
    broker: &Broker,
    caller: &Principal,
    request: v1::UpdateScheduleRequest,
) -> Result<v1::UpdateScheduleResponse, RpcError> {
    let id = schedule_id(&request.schedule_id)?;
    let mut violations = Violations::new();
    let paths = request.update_mask.unwrap_or_default().paths;
    patch::mask(paths.iter().map(String::as_str), &convert::schedule::PATHS, &mut violations);
    let expected = patch::revision(&request.etag, At::REQUEST.field("etag"), &mut violations);

    let stored = owned(broker, caller, id).await?;
    let mut spec = convert::schedule::source(&stored).unwrap_or_default();
    spec.user.clone_from(&stored.user);
    let new = request.schedule.unwrap_or_default();
    let spec = convert::schedule::merged(spec, new, &paths);
    let moves = ["timing", "start_time", "end_time"];
    let moment = Moment {
        now_ms: broker.store.now_ms().await?,
        created_ms: stored.create_time_ms,
        must_fire: paths.iter().any(|path| moves.contains(&path.as_str())),
    };
    let asked = (spec, String::new());
    let new = checked(broker, caller, asked, moment, violations, false).await?;
    let NewSchedule { name, spec, action, source, .. } = new;
    let change = ScheduleChange { name, spec, action, source };
    // What was read decides, so what was changed since is not overwritten.
    let revision = expected.unwrap_or(stored.revision);
    let updated = broker.store.update_schedule(id, revision, &change).await;
    updated.map_err(|error| refused(id, error))?;
    let schedule = found(broker, id).await?;
    Ok(v1::UpdateScheduleResponse { schedule: Some(convert::schedule::to_proto(schedule)) })
}

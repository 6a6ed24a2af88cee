//! Verbs on schedules.

pub mod backfill_schedule;
pub mod create_schedule;
pub mod delete_schedule;
pub mod get_schedule;
pub mod list_fire_times;
pub mod list_schedules;
pub mod pause_schedule;
pub mod resume_schedule;
pub mod run_schedule;
pub mod update_schedule;

use asyncflow_core::{
    access::Principal,
    id::ScheduleId,
    validate::{at::At, schedule::Moment, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{NewSchedule, Schedule, ScheduleError};

use crate::{broker::Broker, convert, error::RpcError, principal::permit_user};

/// The schedule that a request names.
fn schedule_id(value: &str) -> Result<ScheduleId, RpcError> {
    let mut violations = Violations::new();
    let id = text::schedule_id(value, At::REQUEST.field("schedule_id"), &mut violations);
    Ok(violations.ok_or(id)?)
}

/// A schedule that must be there.
async fn found(broker: &Broker, id: ScheduleId) -> Result<Schedule, RpcError> {
    broker.store.get_schedule(id).await?.ok_or(RpcError::ScheduleNotFound(id))
}

/// A schedule that the caller may change: it acts in its owner's name.
async fn owned(broker: &Broker, caller: &Principal, id: ScheduleId) -> Result<Schedule, RpcError> {
    let schedule = found(broker, id).await?;
    permit_user(caller, &schedule.user)?;
    Ok(schedule)
}

fn refused(id: ScheduleId, error: ScheduleError) -> RpcError {
    match error {
        ScheduleError::NotFound => RpcError::ScheduleNotFound(id),
        ScheduleError::Store(error) => error.into(),
    }
}

/// A schedule that may be stored: its fields, the caller, and the types of its tasks. What was
/// found wrong before is told with the rest.
async fn checked(
    broker: &Broker,
    caller: &Principal,
    asked: (v1::ScheduleSpec, String),
    moment: Moment,
    mut violations: Violations,
    only_check: bool,
) -> Result<NewSchedule, RpcError> {
    let (mut spec, request_id) = asked;
    if spec.user.is_empty() {
        spec.user.clone_from(&caller.user);
    }
    let new = convert::schedule::schedule(spec, request_id, moment, &mut violations);
    let new = violations.ok_or(new)?;
    permit_user(caller, &new.user)?;
    let (mut violations, at) = (Violations::new(), At::REQUEST.field("schedule"));
    for (name, with_command) in new.action.task_types() {
        let of_type = broker.task_type_for_create(name, with_command, only_check).await?;
        let tasks = new.action.tasks().into_iter().filter(|task| task.task_type == *name);
        tasks.for_each(|task| task.check_against(&of_type, at.field("task"), &mut violations));
    }
    violations.none()?;
    Ok(new)
}

//! Schedules, as clients write them and as they see them.

use asyncflow_core::{
    create::NewTask,
    etag,
    schedule::{
        action::{Action, FlowAction, Run},
        spec::Overlap,
    },
    validate::{
        at::At,
        new_task::new_task as check_task,
        schedule::{Moment, ScheduleInput, TimingInput, schedule as check},
    },
    violation::Violations,
    workflow::callbacks,
};
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{Fire, NewSchedule, Schedule};
use prost::Message;
use v1::schedule_spec::{Action as ActionSpec, Timing};

use super::{new_task, time, workflow};

/// The paths that the update mask of a schedule may hold.
pub const PATHS: [&str; 9] = [
    "name",
    "labels",
    "timing",
    "start_time",
    "end_time",
    "jitter",
    "overlap",
    "catch_up",
    "action",
];

/// The times of a schedule, which is at `schedule` of the request, with its names.
pub fn input(spec: &v1::ScheduleSpec, at: At<'_>, violations: &mut Violations) -> ScheduleInput {
    let mut stamp =
        |value: &Option<_>, name| time::timestamp_ms(value.as_ref(), at.field(name), violations);
    let (start_ms, end_ms) =
        (stamp(&spec.start_time, "start_time"), stamp(&spec.end_time, "end_time"));
    let mut span =
        |value: &Option<_>, name| time::duration_ms(value.as_ref(), at.field(name), violations);
    let (jitter_ms, catch_up_ms) = (span(&spec.jitter, "jitter"), span(&spec.catch_up, "catch_up"));
    ScheduleInput {
        user: spec.user.clone(),
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        timing: timing(spec.timing.as_ref(), at, violations),
        start_ms,
        end_ms,
        jitter_ms,
        overlap: overlap(spec.overlap, at.field("overlap"), violations),
        catch_up_ms,
        request_id: None,
    }
}

fn timing(timing: Option<&Timing>, at: At<'_>, violations: &mut Violations) -> TimingInput {
    let read = match timing {
        None => Some(TimingInput::Missing),
        Some(Timing::Cron(cron)) => Some(TimingInput::Cron {
            expression: cron.expression.clone(),
            with_seconds: cron.with_seconds,
            zone: cron.time_zone.clone(),
        }),
        Some(Timing::Interval(every)) => {
            time::duration_ms(Some(every), at.field("interval"), violations)
                .map(|every_ms| TimingInput::Interval { every_ms })
        }
        Some(Timing::Once(once)) => time::timestamp_ms(Some(once), at.field("once"), violations)
            .map(|at_ms| TimingInput::Once { at_ms }),
    };
    // What cannot be read is told already.
    read.unwrap_or(TimingInput::Once { at_ms: i64::MIN })
}

/// The schedule that a request asks for, checked; its user is filled in.
pub fn schedule(
    spec: v1::ScheduleSpec,
    request_id: String,
    moment: Moment,
    violations: &mut Violations,
) -> Option<NewSchedule> {
    let at = At::REQUEST.field("schedule");
    let request_id = Some(request_id).filter(|id| !id.is_empty());
    let mut input = input(&spec, at, violations);
    input.request_id.clone_from(&request_id);
    let checked = check(&input, At::REQUEST, moment, violations);
    let source = spec.encode_to_vec();
    let action = action(spec.action, &input.user, moment.now_ms, at, violations);
    Some(NewSchedule {
        user: input.user,
        name: input.name,
        spec: checked?,
        action: action?,
        source,
        request_id,
        create_time_ms: moment.created_ms,
    })
}

fn action(
    action: Option<ActionSpec>,
    user: &str,
    now_ms: i64,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Action> {
    let mut own_user = |named: &str, at: At<'_>| {
        if !named.is_empty() && named != user {
            violations.add(at.field("user"), "must be empty or that of the schedule");
        }
    };
    match action {
        None => {
            violations.add(at, "one of task and workflow must be given");
            None
        }
        Some(ActionSpec::Task(task)) => {
            own_user(&task.user, at.field("task"));
            if task.not_before.is_some() {
                let at = at.field("task");
                violations.add(at.field("not_before"), "must not be set: the schedule says when");
            }
            let request = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
            let input = new_task::input(request, user, "", at, violations);
            let task = check_task(input, at, now_ms, violations)?;
            Some(if task.is_plain() { Action::Task(Box::new(task)) } else { small_workflow(task) })
        }
        Some(ActionSpec::Workflow(spec)) => {
            own_user(&spec.user, at.field("workflow"));
            let request = v1::CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
            let call = workflow::Call { user, trace_id: "", now_ms };
            let new = workflow::new_workflow(request, call, at, violations)?;
            let (name, labels, input, flow) = (new.name, new.labels, new.input, new.flow);
            Some(Action::Workflow(Box::new(FlowAction { name, labels, input, flow })))
        }
    }
}

/// One that does not stand alone: what it waits for, and its callbacks, are of each run.
fn small_workflow(task: NewTask) -> Action {
    let (name, labels, input) = (task.name.clone(), task.labels.clone(), Default::default());
    let flow = callbacks::flow(NewTask { user: String::new(), ..task });
    Action::Workflow(Box::new(FlowAction { name, labels, input, flow }))
}

/// A stored schedule with the fields of `new` that the paths name.
pub fn merged(
    stored: v1::ScheduleSpec,
    new: v1::ScheduleSpec,
    paths: &[String],
) -> v1::ScheduleSpec {
    let mut merged = stored;
    for path in paths {
        match path.as_str() {
            "name" => merged.name.clone_from(&new.name),
            "labels" => merged.labels.clone_from(&new.labels),
            "timing" => merged.timing.clone_from(&new.timing),
            "start_time" => merged.start_time = new.start_time,
            "end_time" => merged.end_time = new.end_time,
            "jitter" => merged.jitter = new.jitter,
            "overlap" => merged.overlap = new.overlap,
            "catch_up" => merged.catch_up = new.catch_up,
            "action" => merged.action.clone_from(&new.action),
            _ => {}
        }
    }
    merged
}

/// As the client wrote it; what cannot be read, which no version has written, is left out.
pub fn source(schedule: &Schedule) -> Option<v1::ScheduleSpec> {
    let read = v1::ScheduleSpec::decode(schedule.source.as_slice());
    read.inspect_err(|error| tracing::error!(%error, id = %schedule.id, "an unreadable schedule"))
        .ok()
}

fn overlap(number: i32, at: At<'_>, violations: &mut Violations) -> Overlap {
    let known = v1::ScheduleOverlap::try_from(number);
    if known.is_err() {
        violations.add(at, format!("{number} is no policy that is known"));
    }
    match known.unwrap_or_default() {
        v1::ScheduleOverlap::Unspecified | v1::ScheduleOverlap::Skip => Overlap::Skip,
        v1::ScheduleOverlap::QueueOne => Overlap::QueueOne,
        v1::ScheduleOverlap::Allow => Overlap::Allow,
        v1::ScheduleOverlap::CancelRunning => Overlap::CancelRunning,
    }
}

/// The ids of a task and of a workflow, of which one is empty.
fn ids(run: Option<Run>) -> (String, String) {
    match run {
        None => Default::default(),
        Some(Run::Task(id)) => (id.to_string(), String::new()),
        Some(Run::Workflow(id)) => (String::new(), id.to_string()),
    }
}

pub fn to_proto(schedule: Schedule) -> v1::Schedule {
    let spec = source(&schedule);
    let standing = schedule.standing;
    let (last_task_id, last_workflow_id) = ids(standing.last_run);
    v1::Schedule {
        id: schedule.id.to_string(),
        spec,
        // The numbers are those of the protocol.
        state: standing.state.code().into(),
        next_fire_time: standing.next_ms.map(timestamp),
        queued_fire_time: standing.queued_ms.map(timestamp),
        last_fire_time: standing.last_fire_ms.map(timestamp),
        last_task_id,
        last_workflow_id,
        last_error: standing.last_error,
        fired_count: standing.fired,
        skipped_count: standing.skipped,
        missed_count: standing.missed,
        failed_count: standing.failed,
        etag: etag::of(schedule.revision),
        create_time: Some(timestamp(schedule.create_time_ms)),
        update_time: Some(timestamp(schedule.update_time_ms)),
    }
}

pub fn fire(fire: Fire) -> v1::ScheduleFire {
    let (task_id, workflow_id) = ids(fire.run);
    v1::ScheduleFire {
        fire_time: Some(timestamp(fire.fire_ms)),
        cause: fire.cause.code().into(),
        outcome: fire.outcome.code().into(),
        time: Some(timestamp(fire.time_ms)),
        task_id,
        workflow_id,
        message: fire.message.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asyncflow_core::schedule::{FireCause, FireOutcome, ScheduleState};

    #[test]
    fn the_numbers_of_states_are_those_of_the_protocol() {
        let plain = |name: &str| name.replace('_', "").to_lowercase();
        for known in ScheduleState::ALL {
            let proto = v1::ScheduleState::try_from(i32::from(known.code()));
            let name = proto.map(|state| plain(state.as_str_name()));
            assert_eq!(name, Ok(format!("schedulestate{known:?}").to_lowercase()));
        }
        for known in FireCause::ALL {
            let proto = v1::FireCause::try_from(i32::from(known.code()));
            let name = proto.map(|cause| plain(cause.as_str_name()));
            assert_eq!(name, Ok(format!("firecause{known:?}").to_lowercase()));
        }
        for known in FireOutcome::ALL {
            let proto = v1::FireOutcome::try_from(i32::from(known.code()));
            let name = proto.map(|outcome| plain(outcome.as_str_name()));
            assert_eq!(name, Ok(format!("fireoutcome{known:?}").to_lowercase()));
        }
    }
}

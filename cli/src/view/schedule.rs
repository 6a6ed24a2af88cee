//! Schedules, their fire times, and what became of those.

use super::{command::CommandView, enum_name, pairs, unless_zero};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{
    FireCause, FireOutcome, Schedule, ScheduleCron, ScheduleFire, ScheduleOverlap, ScheduleSpec,
    ScheduleState,
    schedule_spec::{Action, Timing},
};
use prost_types::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Schedule`; what it makes is told in words.
#[derive(Debug, Serialize)]
pub struct ScheduleView {
    id: String,
    name: String,
    user: String,
    labels: BTreeMap<String, String>,
    state: String,
    cron: Option<String>,
    time_zone: Option<String>,
    interval: Option<String>,
    once: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    jitter: Option<String>,
    overlap: String,
    catch_up: Option<String>,
    makes: String,
    next_fire_time: Option<String>,
    /// The same on the clocks of its time zone; unset where that is UTC.
    next_local_time: Option<String>,
    queued_fire_time: Option<String>,
    last_fire_time: Option<String>,
    last_task_id: String,
    last_workflow_id: String,
    last_error: String,
    fired_count: i64,
    skipped_count: i64,
    missed_count: i64,
    failed_count: i64,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
    #[serde(skip)]
    next: Option<Timestamp>,
    #[serde(skip)]
    last: Option<Timestamp>,
}

impl From<Schedule> for ScheduleView {
    fn from(schedule: Schedule) -> Self {
        let spec = schedule.spec.unwrap_or_default();
        let state = ScheduleState::try_from(schedule.state).map(|state| state.as_str_name());
        let overlap = match ScheduleOverlap::try_from(spec.overlap) {
            Ok(ScheduleOverlap::Unspecified) => Ok(ScheduleOverlap::Skip.as_str_name()),
            Ok(overlap) => Ok(overlap.as_str_name()),
            Err(_) => Err(spec.overlap),
        };
        let makes = makes(&spec);
        let (mut cron, mut interval, mut once) = (None, None, None);
        match spec.timing {
            Some(Timing::Cron(of)) => cron = Some(of),
            Some(Timing::Interval(every)) => interval = time::span_text(Some(&every)),
            Some(Timing::Once(at)) => once = time::rfc3339(Some(&at)),
            None => {}
        }
        let zone = |zone: String| if zone.is_empty() { "UTC".to_owned() } else { zone };
        Self {
            id: schedule.id,
            name: spec.name,
            user: spec.user,
            labels: spec.labels,
            state: enum_name(state.map_err(|_| schedule.state), "SCHEDULE_STATE_"),
            next_local_time: local(cron.as_ref(), schedule.next_fire_time.as_ref()),
            time_zone: cron.as_ref().map(|cron| zone(cron.time_zone.clone())),
            cron: cron.map(|cron| cron.expression),
            interval,
            once,
            start_time: time::rfc3339(spec.start_time.as_ref()),
            end_time: time::rfc3339(spec.end_time.as_ref()),
            jitter: time::span_text(spec.jitter.as_ref()),
            overlap: enum_name(overlap, "SCHEDULE_OVERLAP_"),
            catch_up: time::span_text(spec.catch_up.as_ref()),
            makes,
            next_fire_time: time::rfc3339(schedule.next_fire_time.as_ref()),
            queued_fire_time: time::rfc3339(schedule.queued_fire_time.as_ref()),
            last_fire_time: time::rfc3339(schedule.last_fire_time.as_ref()),
            last_task_id: schedule.last_task_id,
            last_workflow_id: schedule.last_workflow_id,
            last_error: schedule.last_error,
            fired_count: schedule.fired_count,
            skipped_count: schedule.skipped_count,
            missed_count: schedule.missed_count,
            failed_count: schedule.failed_count,
            etag: schedule.etag,
            create_time: time::rfc3339(schedule.create_time.as_ref()),
            update_time: time::rfc3339(schedule.update_time.as_ref()),
            next: schedule.next_fire_time,
            last: schedule.last_fire_time,
        }
    }
}

/// A time on the clocks of a cron's zone.
fn local(cron: Option<&ScheduleCron>, time: Option<&Timestamp>) -> Option<String> {
    time::local(time?, &cron?.time_zone)
}

fn makes(spec: &ScheduleSpec) -> String {
    match &spec.action {
        None => String::new(),
        Some(Action::Task(task)) => match &task.command {
            Some(command) => {
                let command = CommandView::from(command.clone()).for_people();
                format!("task {}: {command}", task.task_type)
            }
            None => format!("task {}", task.task_type),
        },
        Some(Action::Workflow(workflow)) => format!("workflow {}", workflow.name),
    }
}

impl ScheduleView {
    fn times(&self) -> String {
        match (&self.cron, &self.time_zone, &self.interval, &self.once) {
            (Some(cron), Some(zone), ..) => format!("{cron} {zone}"),
            (.., Some(interval), _) => format!("every {}", time::text_for_people(interval)),
            (.., Some(once)) => format!("once {once}"),
            _ => String::new(),
        }
    }
}

impl View for ScheduleView {
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "STATE", "TIMES", "MAKES", "USER", "NEXT", "LAST"];

    fn id(&self) -> String {
        self.id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            look.palette.state(&self.state),
            self.times(),
            self.makes.clone(),
            self.user.clone(),
            time::relative(self.next.as_ref(), look.now_ms),
            time::relative(self.last.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["id", "name", "state", "times", "makes", "user", "next", "last"];
        let mut details: Vec<_> = names.into_iter().zip(self.row(look)).collect();
        let next = [&self.next_fire_time, &self.next_local_time].into_iter().flatten();
        let next = next.map(String::as_str).collect::<Vec<_>>().join("  = ");
        details.insert(names.len() - 1, ("next fire time", next));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let span =
            |text: &Option<String>| text.as_deref().map(time::text_for_people).unwrap_or_default();
        details.extend([
            ("labels", pairs(&self.labels)),
            ("start", text(&self.start_time)),
            ("end", text(&self.end_time)),
            ("jitter", span(&self.jitter)),
            ("overlap", self.overlap.clone()),
            ("catch-up", span(&self.catch_up)),
            ("queued", text(&self.queued_fire_time)),
            ("last run", format!("{}{}", self.last_task_id, self.last_workflow_id)),
            ("last error", self.last_error.clone()),
            ("fired", unless_zero(self.fired_count)),
            ("skipped", unless_zero(self.skipped_count)),
            ("missed", unless_zero(self.missed_count)),
            ("failed", unless_zero(self.failed_count)),
        ]);
        details
    }
}

/// A schedule with what became of its last fire times.
#[derive(Debug, Serialize)]
pub struct ScheduleWithFires {
    schedule: ScheduleView,
    fires: Vec<FireView>,
}

impl ScheduleWithFires {
    pub fn new(schedule: ScheduleView, fires: Vec<FireView>) -> Self {
        Self { schedule, fires }
    }

    pub fn fires(&self) -> &[FireView] {
        &self.fires
    }
}

impl View for ScheduleWithFires {
    const COLUMNS: &'static [&'static str] = ScheduleView::COLUMNS;

    fn id(&self) -> String {
        self.schedule.id()
    }

    fn row(&self, look: Look) -> Vec<String> {
        self.schedule.row(look)
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        self.schedule.details(look)
    }
}

/// See the protocol's `ScheduleFire`.
#[derive(Debug, Serialize)]
pub struct FireView {
    fire_time: Option<String>,
    cause: String,
    outcome: String,
    time: Option<String>,
    task_id: String,
    workflow_id: String,
    message: String,
}

impl From<ScheduleFire> for FireView {
    fn from(fire: ScheduleFire) -> Self {
        let cause = FireCause::try_from(fire.cause).map(|cause| cause.as_str_name());
        let outcome = FireOutcome::try_from(fire.outcome).map(|outcome| outcome.as_str_name());
        Self {
            fire_time: time::rfc3339(fire.fire_time.as_ref()),
            cause: enum_name(cause.map_err(|_| fire.cause), "FIRE_CAUSE_"),
            outcome: enum_name(outcome.map_err(|_| fire.outcome), "FIRE_OUTCOME_"),
            time: time::rfc3339(fire.time.as_ref()),
            task_id: fire.task_id,
            workflow_id: fire.workflow_id,
            message: fire.message,
        }
    }
}

impl FireView {
    pub fn is_failed(&self) -> bool {
        self.outcome == "FAILED"
    }
}

impl View for FireView {
    const COLUMNS: &'static [&'static str] = &["FIRE TIME", "CAUSE", "OUTCOME", "MADE", "MESSAGE"];

    fn id(&self) -> String {
        format!("{}{}", self.task_id, self.workflow_id)
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.fire_time.clone().unwrap_or_default(),
            self.cause.clone(),
            look.palette.state(&self.outcome),
            self.id(),
            self.message.clone(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["fire time", "cause", "outcome", "made", "message"];
        names.into_iter().zip(self.row(look)).collect()
    }
}

/// A time at which a schedule will fire.
#[derive(Debug, Serialize)]
pub struct FireTimeView {
    fire_time: Option<String>,
    /// The same on the clocks of the schedule's time zone; unset where that is UTC.
    local_time: Option<String>,
    #[serde(skip)]
    time: Timestamp,
}

impl FireTimeView {
    /// A fire time of a schedule with these times.
    pub fn new(time: Timestamp, timing: Option<&Timing>) -> Self {
        let cron = match timing {
            Some(Timing::Cron(cron)) => Some(cron),
            _ => None,
        };
        let local_time = local(cron, Some(&time));
        Self { fire_time: time::rfc3339(Some(&time)), local_time, time }
    }
}

impl View for FireTimeView {
    const COLUMNS: &'static [&'static str] = &["FIRE TIME", "LOCAL TIME", ""];

    fn id(&self) -> String {
        self.fire_time.clone().unwrap_or_default()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let local = self.local_time.clone().unwrap_or_default();
        vec![self.id(), local, time::relative(Some(&self.time), look.now_ms)]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["fire time", "local time", ""].into_iter().zip(self.row(look)).collect()
    }
}

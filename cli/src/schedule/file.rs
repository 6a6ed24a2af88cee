//! The file that describes a schedule, in YAML or JSON.

use super::times::Overlap;
use crate::{
    error::CliError,
    source_file::SourceFile,
    task::file::Task,
    time::{Span, Time},
    workflow::file::WorkflowFile,
};
use asyncflow_proto::v1::{
    ScheduleCron, ScheduleOverlap, ScheduleSpec,
    schedule_spec::{Action, Timing},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    cron: Option<String>,
    #[serde(default)]
    time_zone: String,
    #[serde(default)]
    with_seconds: bool,
    every: Option<Span>,
    at: Option<Time>,
    start: Option<Time>,
    end: Option<Time>,
    jitter: Option<Span>,
    overlap: Option<Overlap>,
    catch_up: Option<Span>,
    /// As in a workflow's file.
    task: Option<Task>,
    /// As a workflow's file.
    workflow: Option<WorkflowFile>,
}

impl ScheduleFile {
    /// Takes what a file says.
    pub fn of(source: &SourceFile) -> Result<Self, CliError> {
        source.parse("schedule", "docs/guide/schedules.md shows how it is written")
    }

    /// What is asked for.
    pub fn spec(self) -> Result<ScheduleSpec, CliError> {
        let mut timings = Vec::new();
        let (time_zone, with_seconds) = (self.time_zone, self.with_seconds);
        let zoned = !time_zone.is_empty() || with_seconds;
        timings.extend(
            self.cron.map(|expression| {
                Timing::Cron(ScheduleCron { expression, time_zone, with_seconds })
            }),
        );
        timings.extend(self.every.map(|Span(every)| Timing::Interval(every)));
        timings.extend(self.at.map(|Time(at)| Timing::Once(at)));
        if timings.len() != 1 {
            return Err(CliError::Usage("give one of cron, every and at".to_owned()));
        }
        if zoned && !matches!(timings[..], [Timing::Cron(_)]) {
            let what = "time_zone and with_seconds are of cron: every and at have none";
            return Err(CliError::Usage(what.to_owned()));
        }
        let mut actions = Vec::new();
        actions.extend(self.task.map(|task| Ok(Action::Task(task.spec()))));
        actions.extend(self.workflow.map(|file| file.spec().map(Action::Workflow)));
        if actions.len() != 1 {
            return Err(CliError::Usage("give one of task and workflow".to_owned()));
        }
        Ok(ScheduleSpec {
            name: self.name,
            user: self.user,
            labels: self.labels,
            timing: timings.pop(),
            start_time: self.start.map(|Time(start)| start),
            end_time: self.end.map(|Time(end)| end),
            jitter: self.jitter.map(|Span(jitter)| jitter),
            overlap: self.overlap.map_or(ScheduleOverlap::Unspecified, Into::into).into(),
            catch_up: self.catch_up.map(|Span(catch_up)| catch_up),
            action: actions.pop().transpose()?,
        })
    }
}

//! The file that describes a schedule, in YAML or JSON.

use super::times::Overlap;
use crate::{error::CliError, task::file::Task, time, workflow::file::WorkflowFile};
use asyncflow_proto::v1::{
    ScheduleCron, ScheduleOverlap, ScheduleSpec,
    schedule_spec::{Action, Timing},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

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
    every: Option<String>,
    at: Option<String>,
    start: Option<String>,
    end: Option<String>,
    jitter: Option<String>,
    overlap: Option<Overlap>,
    catch_up: Option<String>,
    /// As in a workflow's file.
    task: Option<Task>,
    /// As a workflow's file.
    workflow: Option<WorkflowFile>,
}

impl ScheduleFile {
    /// Reads a file; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        crate::workflow::file::read(path, "schedule")
    }

    /// What is asked for.
    pub fn spec(self) -> Result<ScheduleSpec, CliError> {
        let mut timings = Vec::new();
        let (time_zone, with_seconds) = (self.time_zone, self.with_seconds);
        timings.extend(
            self.cron.map(|expression| {
                Timing::Cron(ScheduleCron { expression, time_zone, with_seconds })
            }),
        );
        timings.extend(given(self.every, time::parse_span)?.map(Timing::Interval));
        timings.extend(given(self.at, time::parse_time)?.map(Timing::Once));
        if timings.len() > 1 {
            return Err(CliError::Usage("give one of cron, every and at".to_owned()));
        }
        let mut actions = Vec::new();
        actions.extend(self.task.map(|task| task.spec().map(Action::Task)));
        actions.extend(self.workflow.map(|file| file.spec().map(Action::Workflow)));
        if actions.len() > 1 {
            return Err(CliError::Usage("give one of task and workflow".to_owned()));
        }
        Ok(ScheduleSpec {
            name: self.name,
            user: self.user,
            labels: self.labels,
            timing: timings.pop(),
            start_time: given(self.start, time::parse_time)?,
            end_time: given(self.end, time::parse_time)?,
            jitter: given(self.jitter, time::parse_span)?,
            overlap: self.overlap.map_or(ScheduleOverlap::Unspecified, Into::into).into(),
            catch_up: given(self.catch_up, time::parse_span)?,
            action: actions.pop().transpose()?,
        })
    }
}

fn given<T>(
    text: Option<String>,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, CliError> {
    let read =
        |text: String| parse(&text).map_err(|what| CliError::Usage(format!("{text:?}: {what}")));
    text.map(read).transpose()
}

//! The flags that say when a schedule fires.

use crate::{error::CliError, time};
use asyncflow_proto::v1::{ScheduleCron, ScheduleOverlap, ScheduleSpec, schedule_spec::Timing};
use prost_types::{Duration, Timestamp};
use serde::Deserialize;

/// What happens when the run before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing
    Skip,
    /// One fire time waits for the end of it
    QueueOne,
    /// Both run
    Allow,
    /// It is cancelled
    CancelRunning,
}

impl From<Overlap> for ScheduleOverlap {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Skip => Self::Skip,
            Overlap::QueueOne => Self::QueueOne,
            Overlap::Allow => Self::Allow,
            Overlap::CancelRunning => Self::CancelRunning,
        }
    }
}

/// When a schedule fires.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Times")]
pub struct TimesArgs {
    /// Five fields: minute, hour, day of the month, month, day of the week
    #[arg(long, value_name = "EXPRESSION", conflicts_with_all = ["every", "at"])]
    cron: Option<String>,
    /// The time zone of --cron, e.g. Europe/Berlin; default: UTC
    #[arg(long, value_name = "ZONE", requires = "cron", conflicts_with_all = ["every", "at"],
          default_value_t)]
    time_zone: String,
    /// --cron has six fields, the first being seconds
    #[arg(long, requires = "cron", conflicts_with_all = ["every", "at"])]
    with_seconds: bool,
    /// Again and again, so far apart
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, conflicts_with = "at")]
    every: Option<Duration>,
    /// Once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    at: Option<Timestamp>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    start: Option<Timestamp>,
    /// Before this time only (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    end: Option<Timestamp>,
    /// Put each fire time off by less than this, so that not all fire at once
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    jitter: Option<Duration>,
    /// What happens when the run before has not ended; default: skip
    #[arg(long, value_enum)]
    overlap: Option<Overlap>,
    /// After an outage, make up for fire times that are not over for longer; default: 1h
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    catch_up: Option<Duration>,
}

impl TimesArgs {
    /// The same, if they say when it fires.
    pub fn required(self) -> Result<ScheduleSpec, CliError> {
        let spec = self.spec();
        if spec.timing.is_none() {
            let what = "say when it fires: by --cron, --every or --at, or in a file by -f";
            return Err(CliError::Usage(what.to_owned()));
        }
        Ok(spec)
    }

    /// A schedule with these times.
    pub fn spec(self) -> ScheduleSpec {
        let cron = self.cron.map(|expression| {
            let (time_zone, with_seconds) = (self.time_zone, self.with_seconds);
            Timing::Cron(ScheduleCron { expression, time_zone, with_seconds })
        });
        let every = self.every.map(Timing::Interval);
        ScheduleSpec {
            timing: cron.or(every).or(self.at.map(Timing::Once)),
            start_time: self.start,
            end_time: self.end,
            jitter: self.jitter,
            overlap: self.overlap.map_or(ScheduleOverlap::Unspecified, Into::into).into(),
            catch_up: self.catch_up,
            ..ScheduleSpec::default()
        }
    }
}

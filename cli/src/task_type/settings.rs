//! The flags of a task type, and which of its fields they name.

use crate::{error::CliError, task::resources::ResourceArgs, time};
use asyncflow_proto::v1::{OptionalRetryPolicy, Speculation, TaskType};
use prost_types::Duration;

/// A span, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Span(Duration),
}

impl Limit {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        time::parse_span(text).map(Self::Span)
    }

    fn span(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Span(span) => Some(span),
        }
    }
}

/// A factor, or no twins at all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Factor {
    None,
    Times(f64),
}

impl Factor {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let factor: f64 = text.parse().map_err(|_| "it is neither a number nor `none`")?;
        // The protocol takes 0 for the default.
        if factor > 0.0 { Ok(Self::Times(factor)) } else { Err("it must be above 0".to_owned()) }
    }
}

/// What a task type can be told.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(
    group(clap::ArgGroup::new("gpus_of_type").args(["gpus", "gpu_memory"])),
    mut_arg("gpu_model", |arg| arg.requires("gpus_of_type")),
    mut_arg("min_gpu_memory", |arg| arg.requires("gpus_of_type")),
    mut_arg("gpu_idle_timeout", |arg| arg.requires("gpus_of_type")),
)]
pub struct Settings {
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// Default priority of its tasks, −1000 to 1000
    #[arg(long, short = 'p', allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Default retries after the first failure
    #[arg(long, value_name = "N")]
    max_retries: Option<i32>,
    /// Default wait before the first retry
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    retry_interval: Option<Duration>,
    /// Default longest wait between retries
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    max_retry_interval: Option<Duration>,
    /// Default limit of an attempt's running time, or `none`
    #[arg(long, value_name = "SPAN", value_parser = Limit::parse)]
    max_time: Option<Limit>,
    /// Lost workers after which a task fails as POISON
    #[arg(long, value_name = "N")]
    max_crashes: Option<i32>,
    /// Largest context
    #[arg(long, value_name = "BYTES")]
    max_context_bytes: Option<i32>,
    /// Keep tasks at least this long after they ended, or `none` for ever
    #[arg(long, value_name = "SPAN", value_parser = Limit::parse)]
    retention: Option<Limit>,
    /// Remove the results of ended tasks after this time, or `none` to keep them with their tasks
    #[arg(long, value_name = "SPAN", value_parser = Limit::parse)]
    result_retention: Option<Limit>,
    /// Whether tasks are archived before they are removed
    #[arg(long, value_name = "true|false")]
    archive: Option<bool>,
    /// Most tasks that one claim takes
    #[arg(long, value_name = "N")]
    schedule_limit: Option<i32>,
    /// A shard is closed at this many rows
    #[arg(long, value_name = "ROWS")]
    shard_max_rows: Option<i64>,
    /// A shard that holds rows is closed at this age, or `none` for never
    #[arg(long, value_name = "SPAN", value_parser = Limit::parse)]
    shard_max_age: Option<Limit>,
    /// Run a task a second time, on another host, when it takes so many times as long as is usual,
    /// or `none`; its tasks must be idempotent
    #[arg(long, value_name = "FACTOR", value_parser = Factor::parse)]
    speculation: Option<Factor>,
    /// So many tasks must have ended to tell what is usual
    #[arg(long, value_name = "N", requires = "speculation",
          value_parser = clap::value_parser!(i32).range(1..))]
    speculation_sample: Option<i32>,
    /// Most tasks that run twice, in hundredths of those that run; one in any case
    #[arg(long, value_name = "PERCENT", requires = "speculation",
          value_parser = clap::value_parser!(i32).range(1..))]
    speculation_percent: Option<i32>,
    /// Not before a task has run for so long
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, requires = "speculation")]
    speculation_after: Option<Duration>,
    /// Whether its tasks are held back
    #[arg(long, value_name = "true|false")]
    paused: Option<bool>,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Its tasks need a slot and nothing else. The flags about what they need replace all that was
    /// said of it before
    #[arg(long, conflicts_with_all = ["gpus", "gpu_memory", "cpus", "memory", "gpu_model",
          "min_gpu_memory", "on_host", "worker_labels", "preemptible", "stop_on_trespass",
          "gpu_idle_timeout"])]
    no_resources: bool,
}

impl Settings {
    /// The message, and the paths of the fields that were given.
    pub fn into_type(self, name: String) -> (TaskType, Vec<String>) {
        let resources = self.resources.resources();
        let given = [
            ("description", self.description.is_some()),
            ("priority", self.priority.is_some()),
            ("retry.max_retries", self.max_retries.is_some()),
            ("retry.interval", self.retry_interval.is_some()),
            ("retry.max_interval", self.max_retry_interval.is_some()),
            ("max_running_time", self.max_time.is_some()),
            ("max_crashes", self.max_crashes.is_some()),
            ("max_context_bytes", self.max_context_bytes.is_some()),
            ("retention", self.retention.is_some()),
            ("schedule_limit", self.schedule_limit.is_some()),
            ("shard_max_rows", self.shard_max_rows.is_some()),
            ("shard_max_age", self.shard_max_age.is_some()),
            ("result_retention", self.result_retention.is_some()),
            ("archive", self.archive.is_some()),
            ("paused", self.paused.is_some()),
            ("speculation", self.speculation.is_some()),
            ("resources", self.no_resources || resources.is_some()),
        ];
        let paths = given.into_iter().filter(|(_, given)| *given);
        let paths = paths.map(|(path, _)| path.to_owned()).collect();
        let speculation = self.speculation();
        let retry = OptionalRetryPolicy {
            max_retries: self.max_retries,
            interval: self.retry_interval,
            max_interval: self.max_retry_interval,
        };
        let task_type = TaskType {
            name,
            description: self.description.unwrap_or_default(),
            schedule_limit: self.schedule_limit.unwrap_or_default(),
            priority: self.priority.unwrap_or_default(),
            retry: (retry != OptionalRetryPolicy::default()).then_some(retry),
            max_running_time: self.max_time.and_then(Limit::span),
            max_crashes: self.max_crashes,
            max_context_bytes: self.max_context_bytes,
            shard_max_rows: self.shard_max_rows.unwrap_or_default(),
            shard_max_age: self.shard_max_age.and_then(Limit::span),
            retention: self.retention.and_then(Limit::span),
            result_retention: self.result_retention.and_then(Limit::span),
            archive: self.archive.unwrap_or_default(),
            paused: self.paused.unwrap_or_default(),
            speculation,
            resources,
            ..TaskType::default()
        };
        (task_type, paths)
    }

    /// Whether speculation is set, as the whole that it is, by some of its parts only.
    pub fn has_part_of_speculation(&self) -> Result<bool, CliError> {
        let parts = [
            self.speculation_sample.is_some(),
            self.speculation_percent.is_some(),
            self.speculation_after.is_some(),
        ];
        match self.speculation {
            Some(Factor::None) if parts.contains(&true) => Err(CliError::Usage(
                "--speculation none ends speculation: the other flags about it must not be given"
                    .to_owned(),
            )),
            Some(Factor::Times(_)) => Ok(parts.contains(&false)),
            _ => Ok(false),
        }
    }

    /// What is 0 there has its default.
    fn speculation(&self) -> Option<Speculation> {
        let Some(Factor::Times(factor)) = self.speculation else { return None };
        Some(Speculation {
            factor,
            min_sample: self.speculation_sample.unwrap_or_default(),
            max_percent: self.speculation_percent.unwrap_or_default(),
            min_running_time: self.speculation_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_names_what_was_given_and_nothing_else() {
        let settings = Settings {
            max_retries: Some(5),
            retention: Some(Limit::None),
            paused: Some(false),
            ..Settings::default()
        };
        let (task_type, paths) = settings.into_type("train".to_owned());
        assert_eq!(paths, ["retry.max_retries", "retention", "paused"]);
        assert_eq!(task_type.retry.and_then(|retry| retry.max_retries), Some(5));
        assert_eq!(task_type.retention, None);
        assert!(Settings::default().into_type("x".to_owned()).1.is_empty());
    }
}

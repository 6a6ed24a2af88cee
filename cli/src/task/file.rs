//! A task as the files of workflows and schedules describe it.

use super::resources::NeedsOfFile;
use crate::time::Span;
use asyncflow_proto::v1::{Command, Container, Content, OptionalRetryPolicy, TaskSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a task is asked to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its type; of a command, `command` if it is not given.
    #[serde(rename = "type")]
    task_type: Option<String>,
    /// What people call it.
    #[serde(default)]
    name: String,
    /// Higher is earlier; one step is a second.
    priority: Option<i32>,
    /// At most 32.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Any value; a text is passed on as it is. Without it, what came before.
    payload: Option<Value>,
    /// The program and its arguments; there is no shell in between.
    command: Option<Vec<String>>,
    /// Where the command runs; without it, in a directory of the attempt's own.
    #[serde(default)]
    working_directory: String,
    /// Variables of the command.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// A virtual or conda environment: its absolute path, or the name of a conda environment.
    #[serde(default)]
    python_environment: String,
    /// The command runs in a container of this image.
    container: Option<String>,
    /// What the container sees of the host: `HOST:CONTAINER[:ro]`, absolute.
    #[serde(default)]
    volumes: Vec<String>,
    /// How often it is tried again after a failure.
    max_retries: Option<i32>,
    /// How long it waits before that, e.g. `10s`; it doubles each time.
    #[schemars(with = "Option<String>")]
    retry_interval: Option<Span>,
    /// The longest of these waits.
    #[schemars(with = "Option<String>")]
    max_retry_interval: Option<Span>,
    /// It fails when it runs for longer, e.g. `2h`.
    #[schemars(with = "Option<String>")]
    max_time: Option<Span>,
    /// What must be true of its result, in CEL, e.g. `result.loss < 0.5`.
    #[serde(default)]
    success_if: String,
    /// What it needs on its host; without it, what its type says.
    resources: Option<NeedsOfFile>,
    /// Signals that must have come before it starts.
    #[serde(default)]
    signals: Vec<String>,
    /// Made when it has succeeded.
    #[serde(default)]
    on_success: Vec<Task>,
    /// Made when it has failed for good.
    #[serde(default)]
    on_error: Vec<Task>,
    /// Made when it was cancelled.
    #[serde(default)]
    on_cancel: Vec<Task>,
}

impl Task {
    /// What is asked for.
    pub fn spec(self) -> TaskSpec {
        let span = |span: Option<Span>| span.map(|Span(span)| span);
        let retry = OptionalRetryPolicy {
            max_retries: self.max_retries,
            interval: span(self.retry_interval),
            max_interval: span(self.max_retry_interval),
        };
        let is_command = self.command.is_some();
        let command = self.command.map(|words| {
            let mut words = words.into_iter();
            Command {
                program: words.next().unwrap_or_default(),
                args: words.collect(),
                working_directory: self.working_directory,
                environment: self.environment,
                python_environment: self.python_environment,
                container: self.container.map(|image| Container { image, volumes: self.volumes }),
                code: None,
            }
        });
        let default_type = if is_command { crate::run::DEFAULT_TYPE } else { "" };
        TaskSpec {
            task_type: self.task_type.unwrap_or_else(|| default_type.to_owned()),
            name: self.name,
            priority: self.priority,
            labels: self.labels,
            payload: self.payload.map(content),
            command,
            retry: (retry != OptionalRetryPolicy::default()).then_some(retry),
            max_running_time: span(self.max_time),
            success_if: self.success_if,
            resources: self.resources.map(NeedsOfFile::resources),
            signals: self.signals,
            on_success: specs(self.on_success),
            on_error: specs(self.on_error),
            on_cancel: specs(self.on_cancel),
            ..TaskSpec::default()
        }
    }
}

fn specs(tasks: Vec<Task>) -> Vec<TaskSpec> {
    tasks.into_iter().map(Task::spec).collect()
}

/// A text is passed on as it is, any other value as JSON.
pub fn content(value: Value) -> Content {
    match value {
        Value::String(text) => {
            Content { data: text.into(), content_type: "text/plain; charset=utf-8".into() }
        }
        value => {
            Content { data: value.to_string().into(), content_type: "application/json".into() }
        }
    }
}

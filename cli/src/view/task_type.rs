//! A task type.

use super::resources::ResourcesView;
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{OptionalRetryPolicy, Speculation, TaskType};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `TaskType`.
#[derive(Debug, Serialize)]
pub struct TaskTypeView {
    name: String,
    description: String,
    schedule_limit: i32,
    priority: i32,
    retry: Option<RetryDefaults>,
    max_running_time: Option<String>,
    max_crashes: Option<i32>,
    max_context_bytes: Option<i32>,
    shard_max_rows: i64,
    shard_max_age: Option<String>,
    retention: Option<String>,
    result_retention: Option<String>,
    archive: bool,
    speculation: Option<SpeculationView>,
    resources: Option<ResourcesView>,
    paused: bool,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
    #[serde(skip)]
    created: Option<Timestamp>,
    #[serde(skip)]
    updated: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct SpeculationView {
    factor: f64,
    min_sample: i32,
    max_percent: i32,
    min_running_time: Option<String>,
}

impl From<Speculation> for SpeculationView {
    fn from(speculation: Speculation) -> Self {
        Self {
            factor: speculation.factor,
            min_sample: speculation.min_sample,
            max_percent: speculation.max_percent,
            min_running_time: time::span_text(speculation.min_running_time.as_ref()),
        }
    }
}

impl TaskTypeView {
    /// What its speculation is, if it has one.
    pub fn speculation(&self) -> Option<String> {
        self.speculation.as_ref().map(SpeculationView::for_people)
    }
}

impl SpeculationView {
    fn for_people(&self) -> String {
        let Self { factor, min_sample, max_percent, min_running_time } = self;
        let after = span_or(min_running_time, "0 s");
        format!("over {factor} × the median of {min_sample} or more, from {after}, {max_percent} %")
    }
}

#[derive(Debug, Serialize)]
struct RetryDefaults {
    max_retries: Option<i32>,
    interval: Option<String>,
    max_interval: Option<String>,
}

impl From<OptionalRetryPolicy> for RetryDefaults {
    fn from(retry: OptionalRetryPolicy) -> Self {
        Self {
            max_retries: retry.max_retries,
            interval: time::span_text(retry.interval.as_ref()),
            max_interval: time::span_text(retry.max_interval.as_ref()),
        }
    }
}

impl From<TaskType> for TaskTypeView {
    fn from(kind: TaskType) -> Self {
        Self {
            name: kind.name,
            description: kind.description,
            schedule_limit: kind.schedule_limit,
            priority: kind.priority,
            retry: kind.retry.map(Into::into),
            max_running_time: time::span_text(kind.max_running_time.as_ref()),
            max_crashes: kind.max_crashes,
            max_context_bytes: kind.max_context_bytes,
            shard_max_rows: kind.shard_max_rows,
            shard_max_age: time::span_text(kind.shard_max_age.as_ref()),
            retention: time::span_text(kind.retention.as_ref()),
            result_retention: time::span_text(kind.result_retention.as_ref()),
            archive: kind.archive,
            speculation: kind.speculation.map(Into::into),
            resources: kind.resources.map(Into::into),
            paused: kind.paused,
            etag: kind.etag,
            create_time: time::rfc3339(kind.create_time.as_ref()),
            update_time: time::rfc3339(kind.update_time.as_ref()),
            created: kind.create_time,
            updated: kind.update_time,
        }
    }
}

impl View for TaskTypeView {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "PAUSED", "PRIORITY", "RETRIES", "MAX TIME", "RETENTION", "DESCRIPTION"];

    fn id(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _: Look) -> Vec<String> {
        let retries = self.retry.as_ref().and_then(|retry| retry.max_retries);
        vec![
            self.name.clone(),
            if self.paused { "yes" } else { "no" }.to_owned(),
            self.priority.to_string(),
            retries.map(|retries| retries.to_string()).unwrap_or_default(),
            span_or(&self.max_running_time, "none"),
            span_or(&self.retention, "forever"),
            self.description.clone(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let number = |number: Option<i32>| number.map(|n| n.to_string()).unwrap_or_default();
        let retry = self.retry.as_ref();
        let speculation = self.speculation.as_ref().map(SpeculationView::for_people);
        let speculation = speculation.unwrap_or_else(|| "none".to_owned());
        let needs = self.resources.as_ref().map(ResourcesView::for_people).unwrap_or_default();
        let interval = retry.map(|r| span_or(&r.interval, "")).unwrap_or_default();
        let max_interval = retry.map(|r| span_or(&r.max_interval, "")).unwrap_or_default();
        vec![
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("paused", if self.paused { "yes" } else { "no" }.to_owned()),
            ("priority", self.priority.to_string()),
            ("max retries", number(retry.and_then(|retry| retry.max_retries))),
            ("retry interval", interval),
            ("max retry interval", max_interval),
            ("max time", span_or(&self.max_running_time, "none")),
            ("max crashes", number(self.max_crashes)),
            ("max context bytes", number(self.max_context_bytes)),
            ("retention", span_or(&self.retention, "forever")),
            ("result retention", span_or(&self.result_retention, "as the task")),
            ("archive", if self.archive { "yes" } else { "no" }.to_owned()),
            ("speculation", speculation),
            ("needs", needs),
            ("schedule limit", self.schedule_limit.to_string()),
            ("shard max rows", self.shard_max_rows.to_string()),
            ("shard max age", span_or(&self.shard_max_age, "none")),
            ("created", time::relative(self.created.as_ref(), look.now_ms)),
            ("changed", time::relative(self.updated.as_ref(), look.now_ms)),
        ]
    }
}

fn span_or(span: &Option<String>, unset: &str) -> String {
    span.as_deref().map_or_else(|| unset.to_owned(), time::text_for_people)
}

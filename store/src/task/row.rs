//! The columns of a task's row, and the way between them and the domain's types.

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::{
    id::{ShardId, TaskId},
    reason::FailureReason,
    resources::Resources,
    retry::RetryPolicy,
    state::TaskState,
    task::{Content, Failure, FullTask, Holder, Labels, Member, Progress, Task, TaskBody, Ties},
};
use sea_orm::{QueryResult, TryGetable, Value};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// A task's columns, each with its value.
macro_rules! head {
    ($($name:literal: $task:ident => $value:expr,)*) => {
        /// The columns of a [`Task`], in the order of [`head_values`] and [`read_head`].
        pub(crate) const HEAD: [&str; 39] = [$($name),*];

        pub(crate) fn head_values(task: &Task) -> Vec<Value> {
            vec![$({ let $task = task; $value.into() }),*]
        }

        /// The columns in which two tasks differ, with the values of the second. Only those are
        /// made: nearly every write of a task changes a few of its columns.
        pub(crate) fn changed_values(before: &Task, after: &Task) -> Vec<(&'static str, Value)> {
            let mut changed = Vec::with_capacity(16);
            $({
                let old = { let $task = before; $value };
                let new = { let $task = after; $value };
                if old != new {
                    changed.push(($name, new.into()));
                }
            })*
            changed
        }
    };
}

head! {
    "id": task => task.id.key,
    "user_name": task => task.user.as_str(),
    "name": task => task.name.as_str(),
    "trace_id": task => task.trace_id.as_str(),
    "state": task => task.state.code(),
    "order_time": task => task.order_time_ms,
    "priority": task => task.priority,
    "revision": task => task.revision,
    "run": task => task.run,
    "attempt": task => task.attempt,
    "failures": task => task.failures,
    "crashes": task => task.crashes,
    "max_crashes": task => task.max_crashes,
    "max_retries": task => task.retry.max_retries,
    "retry_interval_ms": task => task.retry.interval_ms,
    "retry_max_interval_ms": task => task.retry.max_interval_ms,
    "max_running_ms": task => task.max_running_ms,
    "not_before_ms": task => task.not_before_ms,
    "paused_from_state": task => task.paused_from.map(|(state, _)| state.code()),
    "paused_order_ms": task => task.paused_from.map(|(_, order_ms)| order_ms),
    "stage": task => task.stage.as_str(),
    "context_version": task => task.context_version,
    "progress": task => encode_progress(&task.progress),
    "failure_reason": task => task.failure.as_ref().map(|failure| failure.reason.code()),
    "failure_message": task => task.failure.as_ref().map(|failure| failure.message.as_str()),
    "worker_id": task => task.holder.worker_id.as_str(),
    "session_id": task => task.holder.session_id,
    "beats": task => task.holder.beats,
    "settle_digest": task => task.holder.settle_digest,
    "create_time_ms": task => task.create_time_ms,
    "update_time_ms": task => task.update_time_ms,
    "claim_time_ms": task => task.claim_time_ms.unwrap_or(0),
    "start_time_ms": task => task.start_time_ms.unwrap_or(0),
    "finish_time_ms": task => task.finish_time_ms.unwrap_or(0),
    "workflow_key": task => task.member.map_or(0, |member| member.workflow.0),
    "workflow_place": task => task.member.map_or(0, |member| member.place()),
    "ties": task => task.ties.code(),
    "success_if": task => (!task.success_if.is_empty()).then_some(task.success_if.as_str()),
    "resources": task => task.resources.as_ref().map(|resources| resources.to_json()),
}

/// The columns of a [`TaskBody`], in the order of [`body_values`].
pub(crate) const BODY: [&str; 7] =
    ["payload", "payload_type", "context", "context_type", "result", "result_type", "labels"];

/// Which of a task's large values are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub payload: bool,
    pub context: bool,
    pub result: bool,
    pub labels: bool,
}

impl Parts {
    /// The row alone.
    pub const NONE: Self = Self { payload: false, context: false, result: false, labels: false };
    /// Everything.
    pub const ALL: Self = Self { payload: true, context: true, result: true, labels: true };
    /// What a worker needs in order to run it.
    pub const CLAIM: Self = Self { result: false, ..Self::ALL };
    /// What a list shows.
    pub const LABELS: Self = Self { labels: true, ..Self::NONE };
}

/// The selected columns, separated by commas; `prefix` is empty or a table's alias with its dot.
pub(crate) fn columns(prefix: &str, parts: Parts) -> String {
    let mut text = String::with_capacity(512);
    for (at, name) in HEAD.iter().chain(body_columns(parts)).enumerate() {
        text.push_str(if at > 0 { ", " } else { "" });
        text.push_str(prefix);
        text.push_str(name);
    }
    text
}

fn body_columns(parts: Parts) -> impl Iterator<Item = &'static &'static str> {
    let wanted = [
        parts.payload,
        parts.payload,
        parts.context,
        parts.context,
        parts.result,
        parts.result,
        parts.labels,
    ];
    BODY.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(name, _)| name)
}

pub(crate) fn body_values(body: &TaskBody) -> Result<Vec<Value>, StoreError> {
    let mut values = content_values(Some(&body.payload));
    values.extend(content_values(Some(&body.context)));
    values.extend(content_values(body.result.as_ref()));
    values.push(encode_labels(&body.labels)?.into());
    Ok(values)
}

/// A NULL of bytes.
pub(crate) const NO_BYTES: Option<Vec<u8>> = None;

/// Bytes and media type, or NULLs.
pub(crate) fn content_values(content: Option<&Content>) -> Vec<Value> {
    let data: Option<Vec<u8>> = content.map(|content| content.data.to_vec());
    vec![data.into(), content.map(|content| content.content_type.clone()).into()]
}

pub(crate) fn encode_labels(labels: &Labels) -> Result<String, StoreError> {
    serde_json::to_string(labels).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads the row's columns one after the other.
struct Reader<'a> {
    row: &'a QueryResult,
    at: usize,
}

impl Reader<'_> {
    fn next<T: TryGetable>(&mut self) -> Result<T, StoreError> {
        let value = self.row.try_get_by_index(self.at)?;
        self.at += 1;
        Ok(value)
    }
}

/// A task from the columns of [`columns`], which start at `at`.
pub(crate) fn read_task(
    row: &QueryResult,
    at: usize,
    shard: &ShardId,
    parts: Parts,
) -> Result<FullTask, StoreError> {
    let mut reader = Reader { row, at };
    let task = read_head(&mut reader, shard)?;
    let mut body = TaskBody::default();
    if parts.payload {
        body.payload = read_content(&mut reader)?.unwrap_or_default();
    }
    if parts.context {
        body.context = read_content(&mut reader)?.unwrap_or_default();
    }
    if parts.result {
        (body.result, body.result_expired) = read_result(&mut reader)?;
    }
    if parts.labels {
        body.labels = decode_labels(&reader.next::<String>()?)?;
    }
    Ok(FullTask { task, body })
}

fn read_head(reader: &mut Reader<'_>, shard: &ShardId) -> Result<Task, StoreError> {
    Ok(Task {
        id: TaskId { shard: shard.clone(), key: reader.next()? },
        user: reader.next()?,
        name: reader.next()?,
        trace_id: reader.next()?,
        state: state(reader.next()?)?,
        order_time_ms: reader.next()?,
        priority: reader.next()?,
        revision: reader.next()?,
        run: reader.next()?,
        attempt: reader.next()?,
        failures: reader.next()?,
        crashes: reader.next()?,
        max_crashes: reader.next()?,
        retry: RetryPolicy {
            max_retries: reader.next()?,
            interval_ms: reader.next()?,
            max_interval_ms: reader.next()?,
        },
        max_running_ms: reader.next()?,
        not_before_ms: reader.next()?,
        paused_from: read_paused(reader.next()?, reader.next()?)?,
        stage: reader.next()?,
        context_version: reader.next()?,
        progress: decode_progress(reader.next()?)?,
        failure: read_failure(reader.next()?, reader.next()?)?,
        holder: Holder {
            worker_id: reader.next()?,
            session_id: reader.next()?,
            beats: reader.next()?,
            settle_digest: reader.next()?,
        },
        create_time_ms: reader.next()?,
        update_time_ms: reader.next()?,
        claim_time_ms: time_ms(reader.next()?),
        start_time_ms: time_ms(reader.next()?),
        finish_time_ms: time_ms(reader.next()?),
        member: Member::at(reader.next()?, reader.next()?),
        ties: Ties::from_code(reader.next()?),
        success_if: reader.next::<Option<String>>()?.unwrap_or_default(),
        resources: decode_resources(reader.next()?)?,
    })
}

/// A time that may not have come: 0 is none, and so is the NULL of a shard made by an older
/// version.
pub(crate) fn time_ms(stored: Option<i64>) -> Option<i64> {
    stored.filter(|time_ms| *time_ms != 0)
}

/// A result whose bytes are gone while its type is there has expired.
fn read_result(reader: &mut Reader<'_>) -> Result<(Option<Content>, bool), StoreError> {
    let data: Option<Vec<u8>> = reader.next()?;
    let content_type: Option<String> = reader.next()?;
    let expired = data.is_none() && content_type.is_some();
    Ok((data.map(|data| content(data, content_type)), expired))
}

fn content(data: Vec<u8>, content_type: Option<String>) -> Content {
    Content { data: data.into(), content_type: content_type.unwrap_or_default() }
}

fn read_content(reader: &mut Reader<'_>) -> Result<Option<Content>, StoreError> {
    let data: Option<Vec<u8>> = reader.next()?;
    let content_type: Option<String> = reader.next()?;
    Ok(data.map(|data| content(data, content_type)))
}

/// A state from its stored number.
pub(crate) fn state(code: i16) -> Result<TaskState, StoreError> {
    TaskState::from_code(code).ok_or_else(|| StoreError::Corrupt(format!("the task state {code}")))
}

fn read_paused(
    code: Option<i16>,
    order_ms: Option<i64>,
) -> Result<Option<(TaskState, i64)>, StoreError> {
    code.map(|code| Ok((state(code)?, order_ms.unwrap_or_default()))).transpose()
}

/// A failure from its two columns.
pub(crate) fn read_failure(
    code: Option<i16>,
    message: Option<String>,
) -> Result<Option<Failure>, StoreError> {
    let Some(code) = code else { return Ok(None) };
    let reason = FailureReason::from_code(code)
        .ok_or_else(|| StoreError::Corrupt(format!("the failure reason {code}")))?;
    Ok(Some(Failure { reason, message: message.unwrap_or_default() }))
}

pub(crate) fn decode_labels(text: &str) -> Result<Labels, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// What a task, or a type, needs; NULL for a slot alone.
pub(crate) fn decode_resources(text: Option<String>) -> Result<Option<Arc<Resources>>, StoreError> {
    let decode = |text: String| serde_json::from_str(&text).map(Arc::new);
    let resources = text.map(decode).transpose();
    resources.map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// How progress is stored.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredProgress {
    percent: Option<f64>,
    message: String,
    metrics: BTreeMap<String, f64>,
}

/// NULL for a task that has said nothing. JSON has no NaN or infinity; such metrics are left out.
fn encode_progress(progress: &Progress) -> Option<String> {
    if *progress == Progress::default() {
        return None;
    }
    let finite = |(name, value): (&String, &f64)| value.is_finite().then(|| (name.clone(), *value));
    let stored = StoredProgress {
        percent: progress.percent.filter(|percent| percent.is_finite()),
        message: progress.message.clone(),
        metrics: progress.metrics.iter().filter_map(finite).collect(),
    };
    serde_json::to_string(&stored).ok()
}

fn decode_progress(text: Option<String>) -> Result<Progress, StoreError> {
    let Some(text) = text else { return Ok(Progress::default()) };
    let StoredProgress { percent, message, metrics } =
        serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Progress { percent, message, metrics })
}

//! One line of an archive: a task with everything that the database knew of it.
//!
//! Times are Unix milliseconds. Fields are only ever added; a reader passes over those it does not
//! know.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    pub id: String,
    pub user: String,
    pub name: String,
    pub trace_id: String,
    /// As in the protocol, e.g. `SUCCEEDED`.
    pub state: String,
    pub order_time_ms: i64,
    pub priority: i32,
    pub revision: i64,
    pub run: i32,
    pub attempt: i32,
    pub failures: i32,
    pub crashes: i32,
    pub max_crashes: i32,
    pub retry: Retry,
    pub max_running_ms: i64,
    pub not_before_ms: Option<i64>,
    pub stage: String,
    pub context_version: i64,
    pub progress: Progress,
    pub failure: Option<Failure>,
    pub worker_id: String,
    pub session_id: i64,
    pub beats: i64,
    pub settle_digest: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    pub claim_time_ms: Option<i64>,
    pub start_time_ms: Option<i64>,
    pub finish_time_ms: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub payload: Content,
    pub context: Content,
    pub result: Option<Content>,
    /// It had a result that was removed before.
    pub result_expired: bool,
    /// All that have ended, in their order.
    pub attempts: Vec<Attempt>,
}

/// Bytes with their media type; base64 in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub data: Bytes,
    pub content_type: String,
}

/// The retry policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    pub max_retries: i32,
    pub interval_ms: i64,
    pub max_interval_ms: i64,
}

/// What the task last said of itself. Numbers that JSON does not have (NaN, infinite) are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub percent: Option<f64>,
    pub message: String,
    pub metrics: BTreeMap<String, f64>,
}

/// Why it, or an attempt, failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// As in the protocol, e.g. `TIMED_OUT`.
    pub reason: String,
    pub message: String,
}

/// One ended attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt {
    pub attempt: i32,
    pub run: i32,
    pub worker_id: String,
    pub session_id: i64,
    pub stage: String,
    pub claim_time_ms: i64,
    pub start_time_ms: Option<i64>,
    pub end_time_ms: i64,
    /// As in the protocol, e.g. `LOST`.
    pub outcome: String,
    pub failure: Option<Failure>,
    pub exit_code: Option<i32>,
    /// What it used, if its worker said so.
    pub usage: Option<Usage>,
}

/// What an attempt used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub host: String,
    /// UUIDs of its GPUs.
    pub gpus: Vec<String>,
    pub gpu_seconds: f64,
    pub gpu_utilization_percent: f64,
    pub gpu_memory_peak_bytes: i64,
    pub cpu_seconds: f64,
    pub memory_peak_bytes: i64,
    pub code_commit: String,
    pub code_changed: bool,
    pub log_dropped_bytes: i64,
}

fn to_base64<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

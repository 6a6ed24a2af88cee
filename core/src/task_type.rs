//! What is configured per task type; changed at run time, read from a short cache.

use std::sync::Arc;

use crate::{
    id::TypeName, limits, resources::Resources, retry::RetryPolicy, speculation::Speculation,
};

/// A registered task type: the defaults of its tasks and the limits of its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskType {
    pub name: TypeName,
    /// For people; may be empty.
    pub description: String,
    /// Most tasks that one claim takes, 1 to 1,000.
    pub schedule_limit: i32,
    /// Default priority of its tasks.
    pub priority: i32,
    /// Default retry policy of its tasks.
    pub retry: RetryPolicy,
    /// Default limit of an attempt's running time; 0 = none.
    pub max_running_ms: i64,
    /// Lost workers after which a task is POISON.
    pub max_crashes: i32,
    /// Largest context, in bytes.
    pub max_context_bytes: i32,
    /// A shard is closed and the next one opened at this many rows.
    pub shard_max_rows: i64,
    /// A shard with rows is closed at this age; 0 = never.
    pub shard_max_age_ms: i64,
    /// Terminal tasks are kept at least this long; 0 = for ever.
    pub retention_ms: i64,
    /// Results of terminal tasks are kept this long; 0 = as long as the tasks.
    pub result_retention_ms: i64,
    /// Tasks are archived before they are removed.
    pub archive: bool,
    /// Its tasks are idempotent, and stragglers get twins.
    pub speculation: Option<Speculation>,
    /// What its tasks need, unless they say something else; `None` = a slot.
    pub resources: Option<Arc<Resources>>,
    /// A task of it came with a command once, or may have. Set by the store, for good.
    pub has_commands: bool,
    /// No task of it is claimed while this is set.
    pub paused: bool,
    /// +1 at every change; the etag.
    pub revision: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
}

impl TaskType {
    /// A type that was never configured: what `auto_create_task_types` registers.
    pub fn with_defaults(name: TypeName, now_ms: i64) -> Self {
        Self {
            name,
            description: String::new(),
            schedule_limit: 100,
            priority: 0,
            retry: RetryPolicy { max_retries: 3, interval_ms: 1_000, max_interval_ms: 300_000 },
            max_running_ms: 0,
            max_crashes: 3,
            max_context_bytes: limits::CONTEXT_BYTES_DEFAULT,
            shard_max_rows: 5_000_000,
            shard_max_age_ms: 0,
            retention_ms: 0,
            result_retention_ms: 0,
            archive: false,
            speculation: None,
            resources: None,
            has_commands: false,
            paused: false,
            revision: 1,
            create_time_ms: now_ms,
            update_time_ms: now_ms,
        }
    }
}

//! Task types: their rows, and a short cache of them.

mod create;
mod get;
mod note_commands;
mod update;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use asyncflow_core::{
    id::TypeName, retry::RetryPolicy, speculation::Speculation, task_type::TaskType,
};
use sea_orm::{QueryResult, Value};

use crate::{
    clock::monotonic,
    error::StoreError,
    task::decode_resources,
    wake::{Wake, WakeReceiver},
};

/// The topic that is rung when a task type was made or changed.
pub(crate) const TOPIC: &str = "types";
const CACHE_MAX_AGE: Duration = Duration::from_millis(1_500);

const COLUMNS: &str = "name, description, schedule_limit, priority, max_retries, \
     retry_interval_ms, retry_max_interval_ms, max_running_ms, max_crashes, max_context_bytes, \
     shard_max_rows, retention_ms, paused, revision, create_time_ms, update_time_ms, \
     shard_max_age_ms, result_retention_ms, archive, speculation_permille, speculation_min_sample, \
     speculation_max_percent, speculation_min_running_ms, resources, has_commands";

/// The column that only [`crate::Store::note_commands`] changes.
const HAS_COMMANDS: &str = "has_commands";

fn values(task_type: &TaskType) -> Vec<Value> {
    let twins = task_type.speculation;
    vec![
        task_type.name.as_str().into(),
        task_type.description.as_str().into(),
        task_type.schedule_limit.into(),
        task_type.priority.into(),
        task_type.retry.max_retries.into(),
        task_type.retry.interval_ms.into(),
        task_type.retry.max_interval_ms.into(),
        task_type.max_running_ms.into(),
        task_type.max_crashes.into(),
        task_type.max_context_bytes.into(),
        task_type.shard_max_rows.into(),
        task_type.retention_ms.into(),
        i16::from(task_type.paused).into(),
        task_type.revision.into(),
        task_type.create_time_ms.into(),
        task_type.update_time_ms.into(),
        task_type.shard_max_age_ms.into(),
        task_type.result_retention_ms.into(),
        i16::from(task_type.archive).into(),
        twins.map_or(0, |twins| twins.factor_permille).into(),
        twins.map_or(0, |twins| twins.min_sample).into(),
        twins.map_or(0, |twins| twins.max_percent).into(),
        twins.map_or(0, |twins| twins.min_running_ms).into(),
        task_type.resources.as_ref().map(|resources| resources.to_json()).into(),
        i16::from(task_type.has_commands).into(),
    ]
}

fn read(row: &QueryResult) -> Result<TaskType, StoreError> {
    Ok(TaskType {
        name: read_name(row.try_get_by_index(0)?)?,
        description: row.try_get_by_index(1)?,
        schedule_limit: row.try_get_by_index(2)?,
        priority: row.try_get_by_index(3)?,
        retry: RetryPolicy {
            max_retries: row.try_get_by_index(4)?,
            interval_ms: row.try_get_by_index(5)?,
            max_interval_ms: row.try_get_by_index(6)?,
        },
        max_running_ms: row.try_get_by_index(7)?,
        max_crashes: row.try_get_by_index(8)?,
        max_context_bytes: row.try_get_by_index(9)?,
        shard_max_rows: row.try_get_by_index(10)?,
        retention_ms: row.try_get_by_index(11)?,
        paused: row.try_get_by_index::<i16>(12)? != 0,
        revision: row.try_get_by_index(13)?,
        create_time_ms: row.try_get_by_index(14)?,
        update_time_ms: row.try_get_by_index(15)?,
        shard_max_age_ms: row.try_get_by_index(16)?,
        result_retention_ms: row.try_get_by_index(17)?,
        archive: row.try_get_by_index::<i16>(18)? != 0,
        speculation: read_speculation(row, 19)?,
        resources: decode_resources(row.try_get_by_index(23)?)?,
        has_commands: row.try_get_by_index::<Option<i16>>(24)? != Some(0),
    })
}

/// A factor of 0 is none.
fn read_speculation(row: &QueryResult, at: usize) -> Result<Option<Speculation>, StoreError> {
    let speculation = Speculation {
        factor_permille: row.try_get_by_index(at)?,
        min_sample: row.try_get_by_index(at + 1)?,
        max_percent: row.try_get_by_index(at + 2)?,
        min_running_ms: row.try_get_by_index(at + 3)?,
    };
    Ok(Some(speculation).filter(|speculation| speculation.factor_permille > 0))
}

/// A task type's name from a column.
pub(crate) fn read_name(text: String) -> Result<TypeName, StoreError> {
    TypeName::new(&text).map_err(|_| StoreError::Corrupt(format!("the task type {text:?}")))
}

/// Types that were read a moment ago. Emptied when somebody rings [`TOPIC`].
pub(crate) struct TypeCache(Mutex<Cached>);

struct Cached {
    types: HashMap<TypeName, (Instant, TaskType)>,
    changed: WakeReceiver,
}

impl TypeCache {
    pub fn new(wake: &Wake) -> Self {
        Self(Mutex::new(Cached { types: HashMap::new(), changed: wake.subscribe(TOPIC) }))
    }

    fn get(&self, name: &TypeName) -> Option<TaskType> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.changed.take_rung() {
            cached.types.clear();
        }
        let (read, task_type) = cached.types.get(name)?;
        (monotonic().duration_since(*read) < CACHE_MAX_AGE).then(|| task_type.clone())
    }

    fn put(&self, task_type: &TaskType) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.types.insert(task_type.name.clone(), (monotonic(), task_type.clone()));
    }

    fn forget(&self, name: &TypeName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).types.remove(name);
    }
}

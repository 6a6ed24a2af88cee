//! Task types.

use asyncflow_core::{
    etag,
    retry::RetryPatch,
    task_type::TaskType,
    validate::{
        at::At,
        patch::{self, TASK_TYPE_PATHS},
        resources::ResourcesInput,
        task_type::{SpeculationInput, TaskTypeInput},
    },
    violation::Violations,
};
use asyncflow_proto::{
    time::{duration, timestamp},
    v1,
};

use super::{new_task, resources, time};

pub fn to_proto(task_type: TaskType) -> v1::TaskType {
    v1::TaskType {
        name: task_type.name.to_string(),
        description: task_type.description,
        schedule_limit: task_type.schedule_limit,
        priority: task_type.priority,
        retry: Some(v1::OptionalRetryPolicy {
            max_retries: Some(task_type.retry.max_retries),
            interval: Some(duration(task_type.retry.interval_ms)),
            max_interval: Some(duration(task_type.retry.max_interval_ms)),
        }),
        max_running_time: (task_type.max_running_ms > 0)
            .then(|| duration(task_type.max_running_ms)),
        max_crashes: Some(task_type.max_crashes),
        max_context_bytes: Some(task_type.max_context_bytes),
        shard_max_rows: task_type.shard_max_rows,
        retention: (task_type.retention_ms > 0).then(|| duration(task_type.retention_ms)),
        paused: task_type.paused,
        etag: etag::of(task_type.revision),
        create_time: Some(timestamp(task_type.create_time_ms)),
        update_time: Some(timestamp(task_type.update_time_ms)),
        shard_max_age: (task_type.shard_max_age_ms > 0)
            .then(|| duration(task_type.shard_max_age_ms)),
        result_retention: (task_type.result_retention_ms > 0)
            .then(|| duration(task_type.result_retention_ms)),
        archive: task_type.archive,
        speculation: task_type.speculation.map(|given| v1::Speculation {
            factor: f64::from(given.factor_permille) / 1_000.0,
            min_sample: given.min_sample,
            max_percent: given.max_percent,
            min_running_time: Some(duration(given.min_running_ms)),
        }),
        resources: task_type.resources.as_deref().map(resources::to_proto),
    }
}

/// A CreateTaskTypeRequest: what is zero or unset keeps its default.
pub fn created(task_type: v1::TaskType, violations: &mut Violations) -> TaskTypeInput {
    let given = values(&task_type, violations);
    TaskTypeInput {
        name: task_type.name,
        description: Some(task_type.description),
        schedule_limit: Some(task_type.schedule_limit).filter(|&limit| limit != 0),
        priority: Some(task_type.priority),
        retry: given.retry,
        max_running_ms: given.max_running_ms.map(Some),
        max_crashes: task_type.max_crashes,
        max_context_bytes: task_type.max_context_bytes,
        shard_max_rows: Some(task_type.shard_max_rows).filter(|&rows| rows != 0),
        shard_max_age_ms: given.shard_max_age_ms.map(Some),
        retention_ms: given.retention_ms.map(Some),
        result_retention_ms: given.result_retention_ms.map(Some),
        archive: Some(task_type.archive),
        speculation: given.speculation.map(Some),
        paused: Some(task_type.paused),
        resources: given.resources.map(Some),
    }
}

/// An UpdateTaskTypeRequest: only the fields in the mask. The etag comes back as a revision.
pub fn updated(
    request: v1::UpdateTaskTypeRequest,
    violations: &mut Violations,
) -> (TaskTypeInput, Option<i64>) {
    let paths = request.update_mask.unwrap_or_default().paths;
    patch::mask(paths.iter().map(String::as_str), &TASK_TYPE_PATHS, violations);
    let Some(new) = request.task_type else {
        violations.add(At::REQUEST.field("task_type"), "must be given");
        return (TaskTypeInput::default(), None);
    };
    let etag = At::REQUEST.field("task_type");
    let revision = patch::revision(&new.etag, etag.field("etag"), violations);
    let given = values(&new, violations);
    let retry = given.retry;
    let mut input = TaskTypeInput { name: new.name.clone(), ..TaskTypeInput::default() };
    for path in &paths {
        match path.as_str() {
            "description" => input.description = Some(new.description.clone()),
            "schedule_limit" => input.schedule_limit = Some(new.schedule_limit),
            "priority" => input.priority = Some(new.priority),
            "retry.max_retries" => {
                input.retry.max_retries = Some(retry.max_retries.unwrap_or_default());
            }
            "retry.interval" => input.retry.interval_ms = Some(retry.interval_ms.unwrap_or(0)),
            "retry.max_interval" => {
                input.retry.max_interval_ms = Some(retry.max_interval_ms.unwrap_or(0));
            }
            "max_running_time" => input.max_running_ms = Some(given.max_running_ms),
            "max_crashes" => input.max_crashes = Some(new.max_crashes.unwrap_or_default()),
            "max_context_bytes" => {
                input.max_context_bytes = Some(new.max_context_bytes.unwrap_or_default());
            }
            "shard_max_rows" => input.shard_max_rows = Some(new.shard_max_rows),
            "shard_max_age" => input.shard_max_age_ms = Some(given.shard_max_age_ms),
            "retention" => input.retention_ms = Some(given.retention_ms),
            "result_retention" => input.result_retention_ms = Some(given.result_retention_ms),
            "archive" => input.archive = Some(new.archive),
            "resources" => input.resources = Some(given.resources.clone()),
            "speculation" => input.speculation = Some(given.speculation),
            "paused" => input.paused = Some(new.paused),
            _ => {}
        }
    }
    (input, revision)
}

/// The fields that have to be converted before they can be checked.
struct Values {
    retry: RetryPatch,
    max_running_ms: Option<i64>,
    shard_max_age_ms: Option<i64>,
    retention_ms: Option<i64>,
    result_retention_ms: Option<i64>,
    speculation: Option<SpeculationInput>,
    resources: Option<ResourcesInput>,
}

fn values(new: &v1::TaskType, violations: &mut Violations) -> Values {
    let at = At::REQUEST.field("task_type");
    let mut ms =
        |span: &Option<_>, field| time::duration_ms(span.as_ref(), at.field(field), violations);
    Values {
        max_running_ms: ms(&new.max_running_time, "max_running_time"),
        shard_max_age_ms: ms(&new.shard_max_age, "shard_max_age"),
        retention_ms: ms(&new.retention, "retention"),
        result_retention_ms: ms(&new.result_retention, "result_retention"),
        retry: new_task::retry(new.retry.as_ref(), at.field("retry"), violations),
        speculation: new.speculation.as_ref().map(|new| speculation(new, violations)),
        resources: (new.resources.clone())
            .map(|asked| resources::input(asked, at.field("resources"), violations)),
    }
}

/// What is zero or unset keeps its default.
fn speculation(new: &v1::Speculation, violations: &mut Violations) -> SpeculationInput {
    let at = At::REQUEST.field("task_type");
    let at = at.field("speculation");
    let span = new.min_running_time.as_ref();
    SpeculationInput {
        factor: Some(new.factor).filter(|factor| *factor != 0.0),
        min_sample: Some(new.min_sample).filter(|sample| *sample != 0),
        max_percent: Some(new.max_percent).filter(|percent| *percent != 0),
        min_running_ms: time::duration_ms(span, at.field("min_running_time"), violations),
    }
}

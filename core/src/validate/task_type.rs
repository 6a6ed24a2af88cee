//! CreateTaskType and UpdateTaskType.

use std::sync::Arc;

use super::{at::At, new_task, number, resources::ResourcesInput, text, time};
use crate::{
    id::TypeName,
    limits::{
        CONTEXT_BYTES_MAX, CRASHES_MAX, DESCRIPTION_BYTES_MAX, SCHEDULE_LIMIT_MAX, SHARD_ROWS_MAX,
        SHARD_ROWS_MIN, SPECULATION_FACTOR_MAX, SPECULATION_FACTOR_MIN, SPECULATION_SAMPLE_MAX,
    },
    resources::Resources,
    retry::RetryPatch,
    speculation::Speculation,
    task_type::TaskType,
    violation::Violations,
};

/// A task type, or a change of one, as it came in; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskTypeInput {
    pub name: String,
    pub description: Option<String>,
    pub schedule_limit: Option<i32>,
    pub priority: Option<i32>,
    pub retry: RetryPatch,
    /// `Some(None)` = no limit.
    pub max_running_ms: Option<Option<i64>>,
    pub max_crashes: Option<i32>,
    pub max_context_bytes: Option<i32>,
    pub shard_max_rows: Option<i64>,
    /// `Some(None)` = shards are not closed by age.
    pub shard_max_age_ms: Option<Option<i64>>,
    /// `Some(None)` = terminal tasks are kept for ever.
    pub retention_ms: Option<Option<i64>>,
    /// `Some(None)` = results are kept as long as their tasks.
    pub result_retention_ms: Option<Option<i64>>,
    pub archive: Option<bool>,
    /// `Some(None)` = no task gets a twin.
    pub speculation: Option<Option<SpeculationInput>>,
    pub paused: Option<bool>,
    /// `Some(None)` = a slot.
    pub resources: Option<Option<ResourcesInput>>,
}

/// When tasks get twins, as it came in; `None` = the default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpeculationInput {
    pub factor: Option<f64>,
    pub min_sample: Option<i32>,
    pub max_percent: Option<i32>,
    pub min_running_ms: Option<i64>,
}

impl SpeculationInput {
    fn check(&self, at: At<'_>, violations: &mut Violations) {
        let bounds = SPECULATION_FACTOR_MIN..=SPECULATION_FACTOR_MAX;
        if let Some(factor) = self.factor.filter(|factor| !bounds.contains(factor)) {
            let what = format!("{factor} is out of range; {} to {}", bounds.start(), bounds.end());
            violations.add(at.field("factor"), what);
        }
        if let Some(sample) = self.min_sample {
            let at = at.field("min_sample");
            number::in_range(sample, 1..=SPECULATION_SAMPLE_MAX.into(), at, violations);
        }
        if let Some(percent) = self.max_percent {
            number::in_range(percent, 1..=100, at.field("max_percent"), violations);
        }
        if let Some(running_ms) = self.min_running_ms {
            time::duration(running_ms, at.field("min_running_time"), violations);
        }
    }

    /// Checked before, so that every factor fits.
    fn or_default(self) -> Speculation {
        let usual = Speculation::default();
        let permille = self.factor.map(|factor| (factor * 1_000.0).round() as i32);
        Speculation {
            factor_permille: permille.unwrap_or(usual.factor_permille),
            min_sample: self.min_sample.unwrap_or(usual.min_sample),
            max_percent: self.max_percent.unwrap_or(usual.max_percent),
            min_running_ms: self.min_running_ms.unwrap_or(usual.min_running_ms),
        }
    }
}

/// Checks a task type; its fields stand at `task_type`. The name comes back checked; apply the rest
/// with [`TaskTypeInput::apply_to`].
///
/// # Errors
/// [`Violations`] if anything is wrong.
pub fn task_type(input: &TaskTypeInput) -> Result<TypeName, Violations> {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("task_type");
    let name = text::type_name(&input.name, at.field("name"), &mut violations);
    if let Some(description) = &input.description {
        let at = at.field("description");
        text::prose(description, DESCRIPTION_BYTES_MAX, at, &mut violations);
    }
    if let Some(priority) = input.priority {
        new_task::priority(priority, at.field("priority"), &mut violations);
    }
    new_task::retry(&input.retry, at.field("retry"), &mut violations);
    let spans = [
        ("max_running_time", input.max_running_ms),
        ("shard_max_age", input.shard_max_age_ms),
        ("retention", input.retention_ms),
        ("result_retention", input.result_retention_ms),
    ];
    for (field, value_ms) in spans {
        if let Some(Some(value_ms)) = value_ms {
            time::duration(value_ms, at.field(field), &mut violations);
        }
    }
    let bounded: [(&str, Option<i64>, i64, i64); 4] = [
        ("schedule_limit", input.schedule_limit.map(i64::from), 1, SCHEDULE_LIMIT_MAX.into()),
        ("max_crashes", input.max_crashes.map(i64::from), 0, CRASHES_MAX.into()),
        ("max_context_bytes", input.max_context_bytes.map(i64::from), 0, CONTEXT_BYTES_MAX.into()),
        ("shard_max_rows", input.shard_max_rows, SHARD_ROWS_MIN, SHARD_ROWS_MAX),
    ];
    for (field, value, least, most) in bounded {
        if let Some(value) = value {
            number::in_range(value, least..=most, at.field(field), &mut violations);
        }
    }
    if let Some(Some(speculation)) = &input.speculation {
        speculation.check(at.field("speculation"), &mut violations);
    }
    if let Some(Some(resources)) = &input.resources {
        resources.check_of_type(at.field("resources"), &mut violations);
    }
    violations.ok_or(name)
}

impl TaskTypeInput {
    /// Writes the fields that are given into `task_type`; name, revision and times stay.
    pub fn apply_to(&self, task_type: &mut TaskType) {
        fn set<T: Clone>(slot: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                slot.clone_from(value);
            }
        }
        set(&mut task_type.description, &self.description);
        set(&mut task_type.schedule_limit, &self.schedule_limit);
        set(&mut task_type.priority, &self.priority);
        set(&mut task_type.max_crashes, &self.max_crashes);
        set(&mut task_type.max_context_bytes, &self.max_context_bytes);
        set(&mut task_type.shard_max_rows, &self.shard_max_rows);
        set(&mut task_type.paused, &self.paused);
        set(&mut task_type.archive, &self.archive);
        let speculation = self.speculation.map(|given| given.map(SpeculationInput::or_default));
        set(&mut task_type.speculation, &speculation);
        let resources = self.resources.clone().map(|given| {
            let given = given.map(ResourcesInput::into_resources);
            given.filter(|given| *given != Resources::default()).map(Arc::new)
        });
        set(&mut task_type.resources, &resources);
        let or_zero = |value_ms: Option<Option<i64>>| value_ms.map(Option::unwrap_or_default);
        set(&mut task_type.max_running_ms, &or_zero(self.max_running_ms));
        set(&mut task_type.shard_max_age_ms, &or_zero(self.shard_max_age_ms));
        set(&mut task_type.retention_ms, &or_zero(self.retention_ms));
        set(&mut task_type.result_retention_ms, &or_zero(self.result_retention_ms));
        task_type.retry = task_type.retry.patched(&self.retry);
    }
}

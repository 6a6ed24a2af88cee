//! CreateTask and BatchCreateTasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{at::At, command, content, label, number, resources::ResourcesInput, text, time};
use crate::{
    command::Command,
    create::{Callbacks, NewTask, Predecessor},
    expression::{Expression, SUCCESS_VARIABLES},
    limits::{
        BATCH_TASKS_MAX, CALLBACK_LEVELS_MAX, CALLBACKS_MAX, CONTEXT_BYTES_MAX, NAME_BYTES_MAX,
        PAYLOAD_BYTES_MAX, PREDECESSORS_MAX, PRIORITY_MAX, PRIORITY_MIN, REQUEST_ID_BYTES_MAX,
        RETRIES_MAX, SIGNAL_NAME_BYTES_MAX, SIGNALS_MAX, SUCCESS_IF_BYTES_MAX, USER_BYTES_MAX,
    },
    retry::RetryPatch,
    task::Content,
    violation::{Violations, shown},
};

/// A request for a task as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTaskInput {
    pub task_type: String,
    /// Already filled in with the caller where the request left it out.
    pub user: String,
    pub name: String,
    pub priority: Option<i32>,
    pub labels: BTreeMap<String, String>,
    pub payload: Content,
    pub command: Option<Command>,
    pub context: Content,
    pub retry: RetryPatch,
    pub max_running_ms: Option<i64>,
    pub not_before_ms: Option<i64>,
    pub success_if: String,
    pub resources: Option<ResourcesInput>,
    pub after: Vec<PredecessorInput>,
    pub signals: Vec<String>,
    pub on_success: Vec<NewTaskInput>,
    pub on_error: Vec<NewTaskInput>,
    pub on_cancel: Vec<NewTaskInput>,
    /// `None` when the request has none; a blank one is refused.
    pub request_id: Option<String>,
    /// Of the call, which its server has read and checked.
    pub trace_id: String,
}

/// A task that is to be waited for, as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PredecessorInput {
    pub task_id: String,
    pub any_end: bool,
}

/// Checks one request for a task. `request` is the place of the CreateTaskRequest: its fields are
/// `task` and `request_id`.
pub fn new_task(
    input: NewTaskInput,
    request: At<'_>,
    now_ms: i64,
    violations: &mut Violations,
) -> Option<NewTask> {
    if let Some(request_id) = &input.request_id {
        let at = request.field("request_id");
        text::required_line(request_id, REQUEST_ID_BYTES_MAX, at, violations);
    }
    task(input, request.field("task"), now_ms, 0, violations)
}

/// Checks what is asked for, which is a callback of a callback so many `level`s deep.
fn task(
    input: NewTaskInput,
    at: At<'_>,
    now_ms: i64,
    level: usize,
    violations: &mut Violations,
) -> Option<NewTask> {
    let task_type = text::type_name(&input.task_type, at.field("task_type"), violations);
    text::required_line(&input.user, USER_BYTES_MAX, at.field("user"), violations);
    text::line(&input.name, NAME_BYTES_MAX, at.field("name"), violations);
    if let Some(priority) = input.priority {
        self::priority(priority, at.field("priority"), violations);
    }
    label::labels(&input.labels, at.field("labels"), violations);
    retry(&input.retry, at.field("retry"), violations);
    if let Some(value_ms) = input.max_running_ms {
        time::duration(value_ms, at.field("max_running_time"), violations);
    }
    if let Some(value_ms) = input.not_before_ms {
        time::not_before(value_ms, now_ms, at.field("not_before"), violations);
    }
    let context_bytes_max = CONTEXT_BYTES_MAX.unsigned_abs() as usize;
    content::content(&input.context, context_bytes_max, at.field("context"), violations);
    let payload = payload(input.payload, input.command.as_ref(), at, violations);
    success_if(&input.success_if, at.field("success_if"), violations);
    if let Some(resources) = &input.resources {
        resources.check(at.field("resources"), violations);
    }
    let after = predecessors(input.after, at.field("after"), violations);
    signal_names(&input.signals, at.field("signals"), violations);
    let of = Caller { user: &input.user, now_ms, level };
    let callbacks = Callbacks {
        on_success: of.callbacks(input.on_success, at.field("on_success"), violations),
        on_error: of.callbacks(input.on_error, at.field("on_error"), violations),
        on_cancel: of.callbacks(input.on_cancel, at.field("on_cancel"), violations),
    };
    Some(NewTask {
        task_type: task_type?,
        user: input.user,
        name: input.name,
        priority: input.priority,
        labels: input.labels,
        payload,
        context: input.context,
        retry: input.retry,
        max_running_ms: input.max_running_ms,
        not_before_ms: input.not_before_ms,
        success_if: input.success_if,
        resources: input.resources.map(ResourcesInput::into_resources),
        after,
        signals: input.signals,
        callbacks,
        request_id: input.request_id,
        trace_id: input.trace_id,
    })
}

/// Checks a batch; `requests[i]` stands before the fields. Everything that is wrong with any of
/// them is told.
///
/// # Errors
/// [`Violations`] if anything is wrong with any of them; nothing of the batch may then be written.
pub fn new_tasks(inputs: Vec<NewTaskInput>, now_ms: i64) -> Result<Vec<NewTask>, Violations> {
    let mut violations = Violations::new();
    let requests = At::REQUEST.field("requests");
    number::item_count(inputs.len(), 1..=BATCH_TASKS_MAX, requests, &mut violations);
    if inputs.len() > BATCH_TASKS_MAX {
        return Err(violations);
    }
    distinct_request_ids(&inputs, requests, &mut violations);
    let mut tasks = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.into_iter().enumerate() {
        tasks.extend(new_task(input, requests.item(index), now_ms, &mut violations));
    }
    violations.ok_or(Some(tasks))
}

/// The task whose callbacks are checked.
struct Caller<'a> {
    user: &'a str,
    now_ms: i64,
    level: usize,
}

impl Caller<'_> {
    fn callbacks(
        &self,
        inputs: Vec<NewTaskInput>,
        list: At<'_>,
        violations: &mut Violations,
    ) -> Vec<NewTask> {
        number::item_count(inputs.len(), 0..=CALLBACKS_MAX, list, violations);
        if !inputs.is_empty() && self.level >= CALLBACK_LEVELS_MAX {
            violations.add(list, format!("nests deeper than {CALLBACK_LEVELS_MAX} levels"));
            return Vec::new();
        }
        let mut tasks = Vec::new();
        for (index, input) in inputs.into_iter().take(CALLBACKS_MAX).enumerate() {
            let at = list.item(index);
            if input.user != self.user {
                violations.add(at.field("user"), "must be that of the task, or left out");
            }
            let made = task(input, at, self.now_ms, self.level + 1, violations);
            // Who it is for, and in which trace, is told by the task.
            tasks.extend(made.map(|task| NewTask {
                user: String::new(),
                trace_id: String::new(),
                ..task
            }));
        }
        tasks
    }
}

fn success_if(source: &str, at: At<'_>, violations: &mut Violations) {
    if source.len() > SUCCESS_IF_BYTES_MAX {
        let bytes = source.len();
        violations.add(at, format!("{bytes} bytes are too many; at most {SUCCESS_IF_BYTES_MAX}"));
    } else if !source.is_empty()
        && let Err(what) = Expression::parse(source, &SUCCESS_VARIABLES)
    {
        violations.add(at, what);
    }
}

fn predecessors(
    inputs: Vec<PredecessorInput>,
    list: At<'_>,
    violations: &mut Violations,
) -> Vec<Predecessor> {
    number::item_count(inputs.len(), 0..=PREDECESSORS_MAX, list, violations);
    let mut known = BTreeSet::new();
    let mut predecessors = Vec::new();
    for (index, input) in inputs.into_iter().take(PREDECESSORS_MAX).enumerate() {
        let at = list.item(index);
        let id = text::task_id(&input.task_id, at.field("task_id"), violations);
        let Some(id) = id else { continue };
        if !known.insert(id.clone()) {
            violations.add(at.field("task_id"), format!("{id} is there twice"));
        }
        predecessors.push(Predecessor { id, any_end: input.any_end });
    }
    predecessors
}

/// Checks the names of signals, each of which may be there once.
pub fn signal_names(names: &[String], list: At<'_>, violations: &mut Violations) {
    number::item_count(names.len(), 0..=SIGNALS_MAX, list, violations);
    let mut known = BTreeSet::new();
    for (index, name) in names.iter().take(SIGNALS_MAX).enumerate() {
        text::token(name, SIGNAL_NAME_BYTES_MAX, list.item(index), violations);
        if !known.insert(name) {
            violations.add(list.item(index), format!("{} is there twice", shown(name)));
        }
    }
}

pub(super) fn priority(value: i32, at: At<'_>, violations: &mut Violations) {
    let allowed = i64::from(PRIORITY_MIN)..=i64::from(PRIORITY_MAX);
    number::in_range(value, allowed, at, violations);
}

pub(super) fn retry(retry: &RetryPatch, at: At<'_>, violations: &mut Violations) {
    if let Some(max_retries) = retry.max_retries {
        let allowed = 0..=i64::from(RETRIES_MAX);
        number::in_range(max_retries, allowed, at.field("max_retries"), violations);
    }
    if let Some(interval_ms) = retry.interval_ms {
        time::duration(interval_ms, at.field("interval"), violations);
    }
    if let Some(max_interval_ms) = retry.max_interval_ms {
        time::duration(max_interval_ms, at.field("max_interval"), violations);
    }
    if let (Some(least_ms), Some(most_ms)) = (retry.interval_ms, retry.max_interval_ms)
        && most_ms < least_ms
    {
        let what = format!("{most_ms} ms is less than the interval of {least_ms} ms");
        violations.add(at.field("max_interval"), what);
    }
}

fn payload(
    payload: Content,
    program: Option<&Command>,
    at: At<'_>,
    violations: &mut Violations,
) -> Content {
    let Some(program) = program else {
        content::content(&payload, PAYLOAD_BYTES_MAX, at.field("payload"), violations);
        return payload;
    };
    if payload != Content::default() {
        violations.add(at.field("payload"), "must be empty when `command` is set");
    }
    command::command(program, at.field("command"), violations)
}

fn distinct_request_ids(inputs: &[NewTaskInput], requests: At<'_>, violations: &mut Violations) {
    let mut first_by_id = HashMap::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let Some(request_id) = &input.request_id else { continue };
        let first = *first_by_id.entry((&input.user, request_id)).or_insert(index);
        if first != index {
            let what = format!(
                "{} is also that of requests[{first}]; each task needs its own",
                shown(request_id)
            );
            violations.add(requests.item(index).field("request_id"), what);
        }
    }
}

//! Tasks as callers see them.

use asyncflow_core::task::{Content, FullTask, Task};
use asyncflow_proto::time::timestamp;
use asyncflow_sdk::v1;

use super::bug::Bug;

pub fn content_of(content: v1::Content) -> Content {
    Content { data: content.data, content_type: content.content_type }
}

fn content(content: Content) -> v1::Content {
    v1::Content { data: content.data, content_type: content.content_type }
}

pub fn state(task: &Task) -> i32 {
    i32::from(task.state.code())
}

pub fn task(row: FullTask) -> v1::Task {
    let FullTask { task, body } = row;
    v1::Task {
        id: task.id.to_string(),
        task_type: task.id.task_type().to_string(),
        state: state(&task),
        attempt: task.attempt,
        stage: task.stage,
        context_version: task.context_version,
        start_time: task.start_time_ms.map(timestamp),
        payload: Some(content(body.payload)),
        context: (body.context != Content::default()).then(|| content(body.context)),
        result: body.result.map(content),
        ..v1::Task::default()
    }
}

pub fn leased(row: FullTask, bug: Option<Bug>) -> v1::LeasedTask {
    let task_id = row.task.id.to_string();
    let lease = Some(v1::Lease { task_id, attempt: row.task.attempt });
    let mut task = task(row);
    if bug == Some(Bug::WithholdsContext) {
        (task.stage, task.context) = (String::new(), None);
    }
    v1::LeasedTask { lease, task: Some(task), placement: None }
}

//! A CreateTask is refused at fields of its own, in a bounded text; or it is a task that can be
//! stored, read again as the same, and answered.

use asyncflow_core::{
    create::NewTask,
    id::{ShardId, TaskId},
    task_type::TaskType,
    validate::{at::At, new_task},
    violation::Violations,
};
use asyncflow_proto::v1;
use prost::Message;

use crate::convert;

/// Reads the bytes as a CreateTaskRequest.
pub fn check(data: &[u8]) {
    // What is none is refused by the codec.
    if let Ok(request) = v1::CreateTaskRequest::decode(data) {
        check_request(request);
    }
}

/// The same for what came in by another way.
pub(crate) fn check_request(request: v1::CreateTaskRequest) {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let input = convert::new_task::input(request, "ana", "", at, &mut violations);
    let new = new_task::new_task(input, at, crate::NOW_MS, &mut violations);
    let of_type = new.as_ref().map(|new| TaskType::with_defaults(new.task_type.clone(), 0));
    if let (Some(new), Some(of_type)) = (&new, &of_type) {
        new.check_against(of_type, at.field("task"), &mut violations);
    }
    match (new, of_type) {
        (Some(new), Some(of_type)) if violations.is_empty() => accepted(new, &of_type),
        _ => refused(violations),
    }
}

fn refused(violations: Violations) {
    assert!(violations.count() > 0, "it is refused and nobody says why");
    let list = violations.into_list();
    let bytes: usize = list.iter().map(|one| one.field.len() + one.description.len()).sum();
    assert!(bytes <= crate::VIOLATIONS_BYTES_MAX, "{bytes} bytes");
    for violation in list {
        let field = &violation.field;
        let is_known = ["task", "request_id", "*"].iter().any(|begin| field.starts_with(begin));
        assert!(is_known && !violation.description.is_empty(), "{violation:?}");
    }
}

fn accepted(new: NewTask, of_type: &TaskType) {
    // As schedules and workflows keep it.
    let stored = serde_json::to_string(&new);
    let read = stored.map(|text| serde_json::from_str::<NewTask>(&text));
    match read {
        Ok(Ok(read)) => assert_eq!(read, new),
        other => panic!("{other:?} of {new:?}"),
    }
    let shard = ShardId { task_type: new.task_type.clone(), number: 1 };
    let task = new.into_task(of_type, TaskId { shard, key: 1 }, crate::NOW_MS);
    let answer = convert::task::full(task);
    let again = v1::Task::decode(answer.encode_to_vec().as_slice());
    // What is no number differs from itself.
    assert_eq!(again.map(|task| format!("{task:?}")), Ok(format!("{answer:?}")));
}

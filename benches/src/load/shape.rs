//! The tasks of a measurement: their size, and when they were due.

use asyncflow_proto::v1::{Content, CreateTaskRequest, LeasedTask, TaskSpec};
use clap::Args;
use serde::Serialize;
use std::time::Duration;

const CONTENT_TYPE: &str = "application/octet-stream";

/// How large a task is.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct Shape {
    /// Bytes of payload per task; at least 16 where handlers are timed
    #[arg(long, default_value_t = 256)]
    pub payload_bytes: usize,
    /// Bytes of context per task
    #[arg(long, default_value_t = 0)]
    pub context_bytes: usize,
    #[arg(skip)]
    #[serde(skip)]
    pub priority: i32,
}

impl Shape {
    /// That of the table in the documentation.
    pub const SMALL: Self = Self { payload_bytes: 200, context_bytes: 0, priority: 0 };

    /// A request as an SDK sends it: with a request id.
    pub fn request(self, task_type: &str) -> CreateTaskRequest {
        self.with_payload(task_type, vec![b'x'; self.payload_bytes])
    }

    /// One whose handler can tell when it was due.
    pub fn stamped(self, task_type: &str, stamp: Stamp) -> CreateTaskRequest {
        let mut payload = stamp.bytes().to_vec();
        payload.resize(self.payload_bytes.max(payload.len()), b'x');
        self.with_payload(task_type, payload)
    }

    fn with_payload(self, task_type: &str, payload: Vec<u8>) -> CreateTaskRequest {
        let content = |data: Vec<u8>| {
            let content_type = CONTENT_TYPE.to_owned();
            (!data.is_empty()).then(|| Content { data: data.into(), content_type })
        };
        let task = TaskSpec {
            task_type: task_type.to_owned(),
            payload: content(payload),
            context: content(vec![b'c'; self.context_bytes]),
            priority: (self.priority != 0).then_some(self.priority),
            ..TaskSpec::default()
        };
        CreateTaskRequest {
            task: Some(task),
            request_id: uuid::Uuid::now_v7().to_string(),
            ..CreateTaskRequest::default()
        }
    }
}

/// The first bytes of a payload: which run made the task, and when it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub run: u64,
    pub due: Duration,
}

impl Stamp {
    /// A number for a run, so that tasks which another one left behind are not taken for its own.
    pub fn new_run() -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().0
    }

    fn bytes(self) -> [u8; 16] {
        let micros = u64::try_from(self.due.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..].copy_from_slice(&micros.to_be_bytes());
        bytes
    }

    /// When a task of this run was due.
    pub fn due_of(leased: &LeasedTask, run: u64) -> Option<Duration> {
        let payload = leased.task.as_ref()?.payload.as_ref()?;
        let (own, rest) = payload.data.split_first_chunk()?;
        let (micros, _) = rest.split_first_chunk()?;
        let own = u64::from_be_bytes(*own) == run;
        own.then(|| Duration::from_micros(u64::from_be_bytes(*micros)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use asyncflow_proto::v1::Task;

    #[test]
    fn a_handler_reads_when_its_task_was_due_and_ignores_those_of_other_runs() {
        let due = Duration::from_micros(1_234_567);
        for payload_bytes in [0, 16, 300] {
            let shape = Shape { payload_bytes, ..Shape::SMALL };
            let spec = shape.stamped("load", Stamp { run: 7, due }).task.unwrap();
            let bytes = spec.payload.as_ref().unwrap().data.len();
            assert_eq!(bytes, payload_bytes.max(16));
            let task = Some(Task { payload: spec.payload, ..Task::default() });
            let leased = LeasedTask { task, ..LeasedTask::default() };
            assert_eq!(Stamp::due_of(&leased, 7), Some(due));
            assert_eq!(Stamp::due_of(&leased, 8), None);
        }
        assert_eq!(Stamp::due_of(&LeasedTask::default(), 7), None);
    }
}

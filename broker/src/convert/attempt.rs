//! Attempts: the ended ones from the history, and the one that runs from the task itself.

use asyncflow_core::{
    id::TaskId,
    task::{Attempt, Task},
};
use asyncflow_proto::{time::timestamp, v1};

use super::{task, usage};

pub fn to_proto(id: &TaskId, attempt: Attempt) -> v1::Attempt {
    v1::Attempt {
        task_id: id.to_string(),
        attempt: attempt.attempt,
        run: attempt.run,
        worker_id: attempt.worker_id,
        stage: attempt.stage,
        outcome: i32::from(attempt.outcome.code()),
        failure: attempt.failure.map(task::failure),
        exit_code: attempt.exit_code,
        claim_time: Some(timestamp(attempt.claim_time_ms)),
        start_time: attempt.start_time_ms.map(timestamp),
        end_time: Some(timestamp(attempt.end_time_ms)),
        usage: attempt.usage.map(|used| usage::to_proto(*used)),
    }
}

/// The attempt that runs now, which is not in the history yet.
pub fn running(task: &Task) -> Option<v1::Attempt> {
    task.state.is_leased().then(|| v1::Attempt {
        task_id: task.id.to_string(),
        attempt: task.attempt,
        run: task.run,
        worker_id: task.holder.worker_id.clone(),
        stage: task.stage.clone(),
        claim_time: task.claim_time_ms.map(timestamp),
        start_time: task.start_time_ms.map(timestamp),
        ..v1::Attempt::default()
    })
}

//! What owners of tasks ask for.

use super::{Refusal, Step};
use crate::{
    event::TaskPatch,
    order::PRIORITY_POINT_MS,
    reason::FailureReason,
    resources::Resources,
    state::TaskState,
    task::{Content, Failure, Progress, ResultChange},
};

impl Step {
    pub(super) fn cancel(&mut self, message: &str) -> Result<(), Refusal> {
        let failure = Failure { reason: FailureReason::Cancelled, message: message.into() };
        match self.out.task.state {
            TaskState::Cancelling | TaskState::Cancelled => return Err(Refusal::AlreadyDone),
            // The lease goes on: the worker heartbeats until it has stopped the task.
            TaskState::Running => self.out.task.state = TaskState::Cancelling,
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked | TaskState::Paused => {
                self.out.task.paused_from = None;
                self.enter(TaskState::Cancelled, self.now_ms);
            }
            state @ (TaskState::Succeeded | TaskState::Failed) => {
                return Err(Refusal::IllegalState { state, verb: "cancelled" });
            }
        }
        self.out.task.failure = Some(failure);
        Ok(())
    }

    pub(super) fn retry(&mut self, from_start: bool, is_waiting: bool) -> Result<(), Refusal> {
        let terminal = [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled];
        self.expect(&terminal, "retried")?;
        if self.out.task.ties.twin {
            return Err(Refusal::Twin("retried"));
        }
        let task = &mut self.out.task;
        task.run += 1;
        task.failures = 0;
        task.crashes = 0;
        task.failure = None;
        task.progress = Progress::default();
        task.resources = Resources::without_avoided_host(task.resources.take());
        if from_start {
            task.stage.clear();
            task.context_version += 1;
            self.out.context = Some(Content::default());
        }
        self.out.result = Some(ResultChange::Clear);
        if is_waiting {
            self.enter(TaskState::Blocked, self.now_ms);
        } else {
            self.ready(self.now_ms);
        }
        Ok(())
    }

    pub(super) fn update(&mut self, patch: &TaskPatch) -> Result<(), Refusal> {
        let current = self.out.task.revision - 1;
        if patch.expected_revision.is_some_and(|expected| expected != current) {
            return Err(Refusal::Revision { current });
        }
        if self.out.task.state.is_terminal() {
            return Err(Refusal::IllegalState { state: self.out.task.state, verb: "updated" });
        }
        if let Some(priority) = patch.priority {
            self.set_priority(priority);
        }
        if let Some(not_before_ms) = patch.not_before_ms {
            self.set_not_before(not_before_ms);
        }
        let task = &mut self.out.task;
        if let Some(name) = &patch.name {
            task.name.clone_from(name);
        }
        task.retry = task.retry.patched(&patch.retry);
        task.max_running_ms = patch.max_running_ms.unwrap_or(task.max_running_ms);
        self.out.labels.clone_from(&patch.labels);
        Ok(())
    }

    /// Seniority moves with the priority, also of a task that is paused in the queue.
    pub(super) fn set_priority(&mut self, priority: i32) {
        let task = &mut self.out.task;
        let shift_ms = i64::from(task.priority - priority) * PRIORITY_POINT_MS;
        task.priority = priority;
        match &mut task.paused_from {
            Some((TaskState::Pending, order_ms)) => *order_ms += shift_ms,
            _ if task.state == TaskState::Pending => task.order_time_ms += shift_ms,
            _ => {}
        }
    }

    /// Moves a waiting task to its new time. A task in back-off is not moved before the end of its
    /// back-off (unless an earlier not_before had already replaced that), and a leased task keeps
    /// the time for its next attempt.
    pub(super) fn set_not_before(&mut self, not_before_ms: Option<i64>) {
        let task = &mut self.out.task;
        let was_due_ms = task.not_before_ms;
        task.not_before_ms = not_before_ms;
        let due_ms = not_before_ms.unwrap_or(self.now_ms);
        let place = (task.state, task.order_time_ms);
        let moved = match task.paused_from.unwrap_or(place) {
            (TaskState::Pending, _) if due_ms > self.now_ms => (TaskState::Scheduled, due_ms),
            (TaskState::Scheduled, old_ms) if was_due_ms == Some(old_ms) => {
                (TaskState::Scheduled, due_ms)
            }
            (TaskState::Scheduled, old_ms) => (TaskState::Scheduled, old_ms.max(due_ms)),
            unmoved => unmoved,
        };
        if task.paused_from.is_some() {
            task.paused_from = Some(moved);
        } else if moved != place {
            self.enter(moved.0, moved.1);
        }
    }
}

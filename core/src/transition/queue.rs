//! Into the queue, out of it, and back.

use super::{Refusal, Step};
use crate::{order::pending_order_ms, reason::FailureReason, state::TaskState, task::Failure};

impl Step {
    pub(super) fn fail_for_good(&mut self, reason: FailureReason, message: &str) {
        self.out.task.failure = Some(Failure { reason, message: message.into() });
        self.enter(TaskState::Failed, self.now_ms);
    }

    /// Back into the queue at its old seniority, or after a delay.
    pub(super) fn requeue(&mut self, delay_ms: i64) {
        if delay_ms > 0 {
            self.wait_until(self.now_ms.saturating_add(delay_ms));
        } else {
            self.ready(self.out.task.create_time_ms);
        }
    }

    /// Ready since `ready_ms`: into the queue, unless its not_before still lies ahead.
    pub(super) fn ready(&mut self, ready_ms: i64) {
        match self.out.task.not_before_ms {
            Some(due_ms) if due_ms > self.now_ms => self.enter(TaskState::Scheduled, due_ms),
            _ => self.enter(TaskState::Pending, pending_order_ms(ready_ms, self.out.task.priority)),
        }
    }

    /// Waits until `due_ms`, or longer if its not_before says so.
    pub(super) fn wait_until(&mut self, due_ms: i64) {
        let not_before_ms = self.out.task.not_before_ms.unwrap_or(due_ms);
        self.enter(TaskState::Scheduled, due_ms.max(not_before_ms));
    }

    pub(super) fn expire(&mut self) -> Result<(), Refusal> {
        self.expect(&[TaskState::Pending, TaskState::Scheduled], "expired")?;
        self.fail_for_good(FailureReason::Expired, "not started before its expiry");
        Ok(())
    }

    pub(super) fn dependency_fail(&mut self, message: &str) -> Result<(), Refusal> {
        if !self.out.task.is_blocked() {
            let state = self.out.task.state;
            return Err(Refusal::IllegalState { state, verb: "failed by a dependency" });
        }
        self.out.task.paused_from = None;
        self.fail_for_good(FailureReason::DependencyFailed, message);
        Ok(())
    }

    pub(super) fn promote(&mut self) -> Result<(), Refusal> {
        self.expect(&[TaskState::Scheduled], "promoted")?;
        let task = &self.out.task;
        if task.order_time_ms > self.now_ms {
            return Err(Refusal::IllegalState { state: task.state, verb: "promoted early" });
        }
        let order_ms = pending_order_ms(task.order_time_ms, task.priority);
        self.enter(TaskState::Pending, order_ms);
        Ok(())
    }

    /// A paused task stays paused, but will resume into the queue: the event comes only once.
    pub(super) fn unblock(&mut self) -> Result<(), Refusal> {
        if !self.out.task.is_blocked() {
            let state = self.out.task.state;
            return Err(Refusal::IllegalState { state, verb: "unblocked" });
        }
        let paused = self.out.task.paused_from.is_some();
        let place = (self.out.task.state, self.out.task.order_time_ms);
        self.ready(self.now_ms);
        if paused {
            let task = &mut self.out.task;
            task.paused_from = Some((task.state, task.order_time_ms));
            (task.state, task.order_time_ms) = place;
        }
        Ok(())
    }

    pub(super) fn pause(&mut self) -> Result<(), Refusal> {
        let task = &mut self.out.task;
        match task.state {
            TaskState::Paused => Err(Refusal::AlreadyDone),
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked => {
                task.paused_from = Some((task.state, task.order_time_ms));
                self.enter(TaskState::Paused, self.now_ms);
                Ok(())
            }
            state => Err(Refusal::IllegalState { state, verb: "paused" }),
        }
    }

    pub(super) fn resume(&mut self) -> Result<(), Refusal> {
        match self.out.task.state {
            TaskState::Paused => {
                let before = self.out.task.paused_from.take();
                let (state, order_ms) = before.unwrap_or((TaskState::Pending, self.now_ms));
                self.enter(state, order_ms);
                Ok(())
            }
            TaskState::Pending | TaskState::Scheduled | TaskState::Blocked => {
                Err(Refusal::AlreadyDone)
            }
            state => Err(Refusal::IllegalState { state, verb: "resumed" }),
        }
    }
}

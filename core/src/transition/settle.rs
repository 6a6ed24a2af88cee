//! How an attempt ends: by its worker, or because its worker was lost.

use std::sync::Arc;

use super::{Refusal, Step};
use crate::{
    event::{Fence, HandOver, RetryHint, Settle},
    lease::is_out_of_force,
    limits::MESSAGE_BYTES_MAX,
    reason::FailureReason,
    state::TaskState,
    task::{Attempt, AttemptOutcome, Failure, ResultChange, Task},
    validate::text,
    verdict::Verdict,
};

impl Step {
    pub(super) fn settle(
        &mut self,
        fence: Fence,
        settle: &Settle,
        digest: i64,
        exit_code: Option<i32>,
    ) -> Result<(), Refusal> {
        let task = &self.out.task;
        let ended_by_call = !task.state.is_leased() && task.holder.settle_digest != 0;
        // Whatever the session: a worker that restarted repeats what it had not heard answered.
        let replayed = task.attempt == fence.attempt && task.holder.settle_digest == digest;
        if ended_by_call && replayed {
            return Err(Refusal::AlreadyDone);
        }
        self.fenced(fence)?;
        let cancelling = task.state == TaskState::Cancelling;
        match settle {
            Settle::Complete { .. } if let Some(message) = self.refused(settle) => {
                if cancelling {
                    self.cancelled(&message, exit_code);
                } else {
                    let failure = Failure { reason: FailureReason::ResultRefused, message };
                    self.end_attempt(AttemptOutcome::Failed, Some(failure.clone()), exit_code);
                    self.fail(failure, RetryHint::ByPolicy);
                }
            }
            Settle::Complete { result, .. } => {
                self.end_attempt(AttemptOutcome::Succeeded, None, exit_code);
                let kept = result.clone().map_or(ResultChange::Clear, ResultChange::Keep);
                self.out.result = Some(kept);
                self.out.task.failure = None;
                self.enter(TaskState::Succeeded, self.now_ms);
            }
            Settle::Fail { message, .. }
            | Settle::Release { message, .. }
            | Settle::Wait { message, .. }
                if cancelling =>
            {
                self.cancelled(message, exit_code);
            }
            Settle::Fail { reason, message, hint } => {
                let failure = Failure { reason: *reason, message: message.clone() };
                self.end_attempt(AttemptOutcome::Failed, Some(failure.clone()), exit_code);
                self.fail(failure, *hint);
            }
            Settle::Release { reason, message, delay_ms, hand_over } => {
                let failure = Failure { reason: *reason, message: message.clone() };
                self.end_attempt(AttemptOutcome::Released, Some(failure), exit_code);
                self.hand_over(hand_over);
                self.requeue(*delay_ms);
            }
            Settle::Wait { is_pending: false, or_fail: Some(failure), .. } => {
                self.end_attempt(AttemptOutcome::Failed, Some(failure.clone()), exit_code);
                self.fail(failure.clone(), RetryHint::ByPolicy);
            }
            Settle::Wait { until, message, is_pending, .. } => {
                self.out.task.ties.signalled |= !until.signals.is_empty();
                let message = message.clone();
                let failure = Failure { reason: FailureReason::Waiting, message };
                self.end_attempt(AttemptOutcome::Released, Some(failure), exit_code);
                if *is_pending {
                    self.enter(TaskState::Blocked, self.now_ms);
                } else {
                    self.requeue(0);
                }
            }
        }
        self.out.task.holder.settle_digest = digest;
        Ok(())
    }

    fn hand_over(&mut self, hand_over: &HandOver) {
        let task = &mut self.out.task;
        if let Some(context) = &hand_over.context {
            task.context_version += 1;
            self.out.context = Some(context.clone());
        }
        if let Some(host) = &hand_over.avoid_host {
            let needs = Arc::make_mut(task.resources.get_or_insert_default());
            needs.avoid_host.clone_from(host);
        }
    }

    /// Why the task may not end with this result, for people, if it may not.
    fn refused(&self, settle: &Settle) -> Option<String> {
        let success_if = &self.out.task.success_if;
        let Settle::Complete { result, verdict } = settle else { return None };
        if success_if.is_empty() {
            return None;
        }
        let known = verdict.clone().filter(|verdict| verdict.is_by(success_if));
        let verdict = known.unwrap_or_else(|| Verdict::of(success_if, result.as_ref()));
        verdict.refused().map(|message| text::cut(message, MESSAGE_BYTES_MAX))
    }

    pub(super) fn expire_result(&mut self) -> Result<(), Refusal> {
        self.expect(&[TaskState::Succeeded], "rid of its result")?;
        self.out.result = Some(ResultChange::Expire);
        Ok(())
    }

    pub(super) fn end_attempt(
        &mut self,
        outcome: AttemptOutcome,
        failure: Option<Failure>,
        exit_code: Option<i32>,
    ) {
        let task = &self.out.task;
        self.out.ended = Some(Attempt {
            attempt: task.attempt,
            run: task.run,
            worker_id: task.holder.worker_id.clone(),
            session_id: task.holder.session_id,
            stage: task.stage.clone(),
            claim_time_ms: task.claim_time_ms.unwrap_or(self.now_ms),
            start_time_ms: task.start_time_ms,
            end_time_ms: self.now_ms,
            outcome,
            failure,
            exit_code,
            usage: None,
        });
    }

    /// A failure that counts against the budget.
    pub(super) fn fail(&mut self, failure: Failure, hint: RetryHint) {
        let task = &mut self.out.task;
        task.failures += 1;
        let again = task.retry.allows(task.failures)
            && hint != RetryHint::Never
            && !failure.reason.is_permanent();
        task.failure = Some(failure);
        if !again {
            return self.enter(TaskState::Failed, self.now_ms);
        }
        let back_off_ms = task.retry.back_off_ms(task.failures);
        let wait_ms = match hint {
            RetryHint::AfterMs(least_ms) => back_off_ms.max(least_ms),
            RetryHint::ByPolicy | RetryHint::Never => back_off_ms,
        };
        let due_ms = self.now_ms.saturating_add(wait_ms);
        self.wait_until(due_ms);
    }

    pub(super) fn cancelled(&mut self, message: &str, exit_code: Option<i32>) {
        let message = match &self.out.task.failure {
            Some(asked) if asked.reason == FailureReason::Cancelled => asked.message.clone(),
            _ => message.to_owned(),
        };
        let failure = Failure { reason: FailureReason::Cancelled, message };
        self.end_attempt(AttemptOutcome::Cancelled, Some(failure.clone()), exit_code);
        self.out.task.failure = Some(failure);
        self.enter(TaskState::Cancelled, self.now_ms);
    }

    /// The lease ran out and nobody renewed it since. A heartbeat that came between the governor's
    /// look and this has moved the expiry, so it is refused.
    pub(super) fn lease_expired(&mut self) -> Result<(), Refusal> {
        let task = &self.out.task;
        if task.state.is_leased() && !is_out_of_force(task.order_time_ms, self.now_ms) {
            let verb = "taken back before its lease has expired";
            return Err(Refusal::IllegalState { state: task.state, verb });
        }
        self.lease_lost(FailureReason::LeaseLost)
    }

    /// The worker is gone. A task that it had not started goes back as if nothing had been.
    pub(super) fn lease_lost(&mut self, reason: FailureReason) -> Result<(), Refusal> {
        self.expect(&[TaskState::Running, TaskState::Cancelling], "taken back")?;
        let worker_id = self.out.task.holder.worker_id.clone();
        if self.out.task.state == TaskState::Cancelling {
            self.cancelled(&format!("worker {worker_id} was lost while it stopped the task"), None);
            return Ok(());
        }
        if self.out.task.start_time_ms.is_none() {
            let message = format!("worker {worker_id} did not start it");
            let failure = Failure { reason: FailureReason::NotStarted, message };
            self.end_attempt(AttemptOutcome::Released, Some(failure), None);
            self.requeue(0);
            return Ok(());
        }
        let message = format!("worker {worker_id} was lost while it ran the task");
        let failure = Failure { reason, message };
        self.end_attempt(AttemptOutcome::Lost, Some(failure.clone()), None);
        let task = &mut self.out.task;
        task.crashes += 1;
        task.failure = Some(failure);
        if task.crashes > task.max_crashes {
            let message = format!("{} workers were lost while they ran it", task.crashes);
            self.fail_for_good(FailureReason::Poison, &message);
        } else {
            let aside_ms = step_aside_ms(&self.out.task);
            self.requeue(aside_ms);
        }
        Ok(())
    }
}

/// From its second crash on a task stays away for its back-off, more or less by up to a half, each
/// for another time: those that ran beside a poison task and fell with it come back without it.
fn step_aside_ms(task: &Task) -> i64 {
    if task.crashes < 2 {
        return 0;
    }
    let back_off_ms = task.retry.back_off_ms(task.crashes);
    // Keys grow in time: the low bits of neighbours have to reach the high ones.
    let mixed =
        (task.id.key ^ i64::from(task.attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    let spread_ms = (mixed >> 20).rem_euclid(back_off_ms.max(1));
    (back_off_ms / 2).saturating_add(spread_ms)
}

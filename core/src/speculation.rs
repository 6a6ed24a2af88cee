//! Which tasks run for so much longer than usual that it is worth to run them a second time.
//!
//! Only tasks of a type that says that they are idempotent. The twin of a straggler is a task of
//! its own, on another host; the first result that is recorded counts.

use crate::{
    id::TaskId,
    limits::PRIORITY_MAX,
    order::pending_order_ms,
    resources::Resources,
    retry::RetryPolicy,
    state::TaskState,
    task::{Content, FullTask, Holder, Progress, Task, TaskBody, Ties},
};

/// Kept in thousandths, so that what is stored is what was said.
const WHOLE_PERMILLE: i64 = 1_000;

/// When tasks of a type get twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speculation {
    /// A straggler has run for so many thousandths of the usual time.
    pub factor_permille: i32,
    /// Fewer ended tasks do not tell what is usual.
    pub min_sample: i32,
    /// Most twins at once, in hundredths of the type's running tasks; one in any case.
    pub max_percent: i32,
    /// A task that has not run for so long is no straggler.
    pub min_running_ms: i64,
}

impl Default for Speculation {
    fn default() -> Self {
        Self { factor_permille: 3_000, min_sample: 10, max_percent: 10, min_running_ms: 10_000 }
    }
}

impl Speculation {
    /// How many more twins there may be, beside `live` ones, while `running` tasks run.
    pub fn room(&self, running: i64, live: usize) -> usize {
        let most = running.max(0).saturating_mul(self.max_percent.into()) / 100;
        usize::try_from(most).unwrap_or(usize::MAX).max(1).saturating_sub(live)
    }

    /// The median of the times that tasks took; `None` if they are too few to tell.
    pub fn usual_ms(&self, took_ms: &mut [i64]) -> Option<i64> {
        if took_ms.is_empty() || took_ms.len() < self.min_sample.unsigned_abs() as usize {
            return None;
        }
        let middle = took_ms.len() / 2;
        Some(*took_ms.select_nth_unstable(middle).1)
    }

    /// Whether a task that runs since so long is late, whatever is usual.
    pub fn may_be_late(&self, running_ms: i64) -> bool {
        running_ms >= self.min_running_ms
    }

    /// By how much a task that runs since so long is late, in thousandths of what is usual; `None`
    /// if it is not.
    pub fn lateness_permille(&self, running_ms: i64, usual_ms: i64) -> Option<i64> {
        let ratio = running_ms.saturating_mul(WHOLE_PERMILLE) / usual_ms.max(1);
        let is_late = self.may_be_late(running_ms) && ratio > i64::from(self.factor_permille);
        is_late.then_some(ratio)
    }

    /// Those that are late, the worst first, at most `room`. Each comes with the time since which
    /// it runs and with what is usual for it.
    pub fn stragglers<T>(
        &self,
        running: impl IntoIterator<Item = (T, i64, Option<i64>)>,
        room: usize,
    ) -> Vec<T> {
        let late = running.into_iter().filter_map(|(task, running_ms, usual_ms)| {
            Some((self.lateness_permille(running_ms, usual_ms?)?, task))
        });
        let mut late: Vec<(i64, T)> = late.collect();
        late.sort_by_key(|(ratio, _)| std::cmp::Reverse(*ratio));
        late.into_iter().take(room).map(|(_, task)| task).collect()
    }
}

/// The task that does the same again, from where the original has saved itself last.
///
/// It goes before nearly all others, has one attempt, and nothing follows from its end but what
/// becomes of the original.
pub fn twin_of(original: &FullTask, id: TaskId, now_ms: i64) -> FullTask {
    let FullTask { task, body } = original;
    let order_time_ms = pending_order_ms(task.create_time_ms, PRIORITY_MAX);
    let twin = Task {
        id,
        user: task.user.clone(),
        name: task.name.clone(),
        trace_id: task.trace_id.clone(),
        state: TaskState::Pending,
        order_time_ms,
        priority: PRIORITY_MAX,
        revision: 1,
        run: 0,
        attempt: 0,
        failures: 0,
        crashes: 0,
        max_crashes: 0,
        retry: RetryPolicy { max_retries: 0, ..task.retry },
        max_running_ms: task.max_running_ms,
        not_before_ms: None,
        paused_from: None,
        stage: task.stage.clone(),
        context_version: 0,
        progress: Progress::default(),
        failure: None,
        holder: Holder::default(),
        create_time_ms: now_ms,
        update_time_ms: now_ms,
        claim_time_ms: None,
        start_time_ms: None,
        finish_time_ms: None,
        member: None,
        ties: Ties { twin: true, ..Ties::default() },
        success_if: task.success_if.clone(),
        resources: Resources::without_avoided_host(task.resources.clone()),
    };
    let body = TaskBody {
        payload: body.payload.clone(),
        context: body.context.clone(),
        result: None::<Content>,
        result_expired: false,
        labels: body.labels.clone(),
    };
    FullTask { task: twin, body }
}

/// How long a twin waits after it was handed to a host that it is to avoid: 0.5 s, 1 s, 2 s … at
/// most 30 s, by the number of its attempt.
pub fn step_aside_ms(attempt: i32) -> i64 {
    let doublings = attempt.saturating_sub(1).clamp(0, 6);
    (500_i64 << doublings).min(30_000)
}

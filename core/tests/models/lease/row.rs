//! The task's row as the model keeps it: all that the state machine looks at, and of times only
//! what follows from them. The state machine itself gets a whole [`Task`].

use std::sync::LazyLock;

use asyncflow_core::{
    create::NewTask,
    digest,
    event::{Event, Fence, RetryHint, Settle},
    id::{EPOCH_MS, ShardId, TaskId, TypeName},
    lease::is_out_of_force,
    reason::FailureReason,
    state::TaskState,
    task::{Content, Failure, Holder, Progress, Task, Ties},
    task_type::TaskType,
};

/// All of it happens at once by the database's clock; that a lease has run out is a step.
pub const NOW_MS: i64 = EPOCH_MS + 1_000_000;
pub const TTL_MS: i64 = 30_000;
/// What the row's counter of heartbeats is taken for; what an older look has seen is less.
pub const BEATS: i64 = 1;
/// Attempts whose endings are known, see [`Ending`].
pub const ATTEMPTS_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub state: TaskState,
    pub run: i32,
    pub attempt: i32,
    failures: i32,
    crashes: i32,
    pub context_version: i64,
    reason: Option<FailureReason>,
    pub session: i64,
    settle_digest: i64,
    is_claimed: bool,
    pub is_started: bool,
    /// Its lease is out of force by the database's clock.
    pub is_run_out: bool,
}

impl Row {
    pub fn pending() -> Self {
        Self::of(&TEMPLATE)
    }

    /// A task that is this row. Back-off is always over: when it ends is a step.
    pub fn task(&self) -> Task {
        let mut task = TEMPLATE.clone();
        task.state = self.state;
        (task.run, task.attempt) = (self.run, self.attempt);
        (task.failures, task.crashes) = (self.failures, self.crashes);
        task.context_version = self.context_version;
        task.failure = self.reason.map(|reason| Failure { reason, message: String::new() });
        let worker_id = if self.session == 0 { "" } else { WORKERS[worker_of(self.session)] };
        task.holder = Holder {
            worker_id: worker_id.to_owned(),
            session_id: self.session,
            beats: BEATS,
            settle_digest: self.settle_digest,
        };
        task.claim_time_ms = self.is_claimed.then_some(NOW_MS);
        task.start_time_ms = self.is_started.then_some(NOW_MS);
        task.finish_time_ms = self.state.is_terminal().then_some(NOW_MS);
        task.order_time_ms = match self.is_run_out {
            true => NOW_MS - 1,
            false if self.state.is_leased() => NOW_MS + TTL_MS,
            false => NOW_MS,
        };
        task
    }

    /// Names every field, so that one that is new cannot be forgotten here.
    pub fn of(task: &Task) -> Self {
        let Task { state, run, attempt, failures, crashes, context_version, .. } = *task;
        let Task {
            id: _,
            user: _,
            name: _,
            trace_id: _,
            state: _,
            order_time_ms,
            priority: _,
            revision: _,
            run: _,
            attempt: _,
            failures: _,
            crashes: _,
            max_crashes: _,
            retry: _,
            max_running_ms: _,
            not_before_ms,
            paused_from,
            stage,
            context_version: _,
            progress,
            failure,
            holder,
            create_time_ms: _,
            update_time_ms: _,
            claim_time_ms,
            start_time_ms,
            finish_time_ms: _,
            member,
            ties,
            success_if: _,
            resources,
        } = task;
        assert!(not_before_ms.is_none() && paused_from.is_none() && stage.is_empty());
        assert!(member.is_none() && resources.is_none());
        assert_eq!((*ties, progress), (Ties::default(), &Progress::default()));
        Self {
            state,
            run,
            attempt,
            failures,
            crashes,
            context_version,
            reason: failure.as_ref().map(|failure| failure.reason),
            session: holder.session_id,
            settle_digest: holder.settle_digest,
            is_claimed: claim_time_ms.is_some(),
            is_started: start_time_ms.is_some(),
            is_run_out: state.is_leased() && is_out_of_force(*order_time_ms, NOW_MS),
        }
    }

    /// The lease in force, or the last one.
    pub fn fence(&self) -> Fence {
        Fence { attempt: self.attempt, session_id: self.session }
    }

    /// Nobody can tell any more by which call the attempt ended.
    pub fn forget_digest(&mut self) {
        self.settle_digest = 0;
    }

    /// It would be written again as if nothing had been: what a missing guard does.
    pub fn forged(self, state: TaskState) -> Self {
        Self { state, settle_digest: 0, is_claimed: true, is_run_out: false, ..self }
    }
}

pub const WORKERS: [&str; 2] = ["a", "b"];

/// Sessions 1 and 2 are those with which workers a and b begin; 3 and 4 follow them.
pub fn worker_of(session: i64) -> usize {
    usize::from(session % 2 == 0)
}

static TEMPLATE: LazyLock<Task> = LazyLock::new(|| {
    let name = TypeName::new("train").unwrap();
    let mut task_type = TaskType::with_defaults(name.clone(), NOW_MS);
    task_type.max_crashes = 2;
    task_type.retry.max_retries = 1;
    let id = TaskId { shard: ShardId { task_type: name.clone(), number: 1 }, key: 77 };
    let mut task = NewTask::new(name, "alice").into_task(&task_type, id, NOW_MS).task;
    task.holder.beats = BEATS;
    task
});

/// How a program may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    Complete,
    Fail,
}

static SETTLES: LazyLock<Vec<[(Settle, i64); 2]>> = LazyLock::new(|| {
    let of_attempt = |attempt: usize| {
        let result = Content { data: attempt.to_string().into(), ..Content::default() };
        let message = format!("attempt {attempt} failed");
        let fail =
            Settle::Fail { reason: FailureReason::Error, message, hint: RetryHint::ByPolicy };
        [Settle::complete(Some(result)), fail].map(|settle| {
            let digest = digest::settle(&settle, None);
            (settle, digest)
        })
    };
    (0..=ATTEMPTS_MAX).map(of_attempt).collect()
});

/// The call by which an attempt ends; its result names the attempt.
pub fn settle(fence: Fence, ending: Ending) -> Event {
    let of_attempt = &SETTLES[usize::try_from(fence.attempt).unwrap()];
    let (settle, digest) = of_attempt[usize::from(ending == Ending::Fail)].clone();
    Event::Settle { fence, settle, digest, exit_code: None, usage: None }
}

#[test]
fn nothing_that_is_looked_at_is_lost_on_the_way() {
    let row = Row::pending();
    assert_eq!(Row::of(&row.task()), row);
    for state in TaskState::ALL.into_iter().filter(|state| *state != TaskState::Paused) {
        let leased = state.is_leased();
        let row = Row {
            state,
            run: 1,
            attempt: 2,
            failures: 1,
            crashes: 1,
            context_version: 3,
            reason: Some(FailureReason::Error),
            session: 4,
            settle_digest: 5,
            is_claimed: true,
            is_started: true,
            is_run_out: leased,
        };
        assert_eq!(Row::of(&row.task()), row);
        let fresh = Row { is_run_out: false, ..row };
        assert_eq!(Row::of(&fresh.task()), fresh);
    }
}

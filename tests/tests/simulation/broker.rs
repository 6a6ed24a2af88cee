//! A broker without anything of its own: what workers call, over the database that all share.
//!
//! It does what `broker/src/rpc/work` does, one file per verb there, in the same order: who calls,
//! what the row says, what the state machine makes of it, and the write, if the row still is as it
//! was. Between any two of these a pause lets others come in, and its host may die.

use std::{sync::Arc, time::Duration};

use asyncflow_core::{
    digest,
    error_reason::ErrorReason,
    event::{Event, Fence, HandOver, RetryHint, Settle},
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
    task::Task,
    transition::{Refusal, transition},
};
use asyncflow_proto::time::duration_ms;
use asyncflow_sdk::v1::{self, task_outcome::Outcome};
use tonic::Status;

use super::{
    bug::Bug,
    database::{Database, Write},
    shared_dice::SharedDice,
    status,
    times::{HANDOUT_MS, LEASE_MS},
};

/// Between two looks of an acquire that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(150);
/// How long a statement takes at most.
const STATEMENT_MS_MAX: u64 = 15;
/// Of so many answers to COMMITs one gets lost, while anything does.
const ANSWERS_PER_LOST: u64 = 25;

/// Whose call it is.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: i64,
    pub worker_id: String,
}

/// What became of an event.
pub type Applied = Result<Task, Refused>;

pub enum Refused {
    /// By the state machine; the task is as it was.
    ByRule(Refusal, Box<Task>),
    NotFound,
    /// The database cannot be reached: whether it was written is not known.
    Away,
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ByRule(refused, _) => status::of(&refused),
            Refused::NotFound => status::plain(ErrorReason::TaskNotFound),
            Refused::Away => status::plain(ErrorReason::DatabaseUnavailable),
        }
    }
}

#[derive(Clone)]
pub struct Broker {
    pub database: Arc<Database>,
    pub dice: SharedDice,
}

impl Broker {
    /// The time of a statement.
    pub async fn statement(&self) -> Result<(), Refused> {
        let ms = self.dice.with(|dice| dice.roll(STATEMENT_MS_MAX + 1));
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if self.database.is_away() { Err(Refused::Away) } else { Ok(()) }
    }

    /// The COMMIT was done; now and then nobody is told of it.
    pub async fn committed(&self) -> Result<(), Refused> {
        self.statement().await?;
        let is_shaky = self.database.is_shaky();
        let is_lost = is_shaky && self.dice.with(|dice| dice.one_in(ANSWERS_PER_LOST));
        if is_lost { Err(Refused::Away) } else { Ok(()) }
    }

    pub async fn session(&self, id: &str) -> Result<Session, Status> {
        self.statement().await?;
        let id = id.parse().map_err(|_| status::plain(ErrorReason::UnknownSession))?;
        let found = self.database.worker_of(id);
        let worker_id = found.ok_or_else(|| status::plain(ErrorReason::UnknownSession))?;
        Ok(Session { id, worker_id })
    }

    /// Applies an event, again if somebody else was faster. `asked` is the lease that was named.
    pub async fn apply(&self, id: &TaskId, event: Event, asked: Option<Fence>) -> Applied {
        loop {
            self.statement().await?;
            let before = self.database.read(id).ok_or(Refused::NotFound)?.task;
            self.statement().await?;
            let event = self.with_bug(&event, &before);
            let step = match transition(&before, &event, self.database.now_ms()) {
                Ok(step) => step,
                Err(refused) => return Err(self.refused(refused, before)),
            };
            let after = step.task.clone();
            let written = self.database.write(vec![Write { before, event, step, asked }]);
            self.committed().await?;
            if written == [true] {
                return Ok(after);
            }
        }
    }

    fn refused(&self, refused: Refusal, before: Task) -> Refused {
        let forgets = self.database.bug == Some(Bug::ForgetsEnds);
        if forgets && refused == Refusal::AlreadyDone && before.state.is_terminal() {
            let (given, in_force) = (before.attempt, before.attempt);
            return Refused::ByRule(Refusal::LeaseLost { given, in_force }, Box::new(before));
        }
        Refused::ByRule(refused, Box::new(before))
    }

    fn with_bug(&self, event: &Event, before: &Task) -> Event {
        let (attempt, session_id) = (before.attempt, before.holder.session_id);
        let in_force = Fence { attempt, session_id };
        let mut event = event.clone();
        match (self.database.bug, &mut event) {
            (
                Some(Bug::CompletesById),
                Event::Settle { fence, settle: Settle::Complete { .. }, .. },
            ) => *fence = in_force,
            (Some(Bug::SavesByState), Event::SaveContext { fence, .. }) => *fence = in_force,
            _ => {}
        }
        event
    }

    /// The tasks of what happened to each lease, and what the worker has to do about it.
    pub async fn verdicts(
        &self,
        session: &Session,
        leases: Vec<v1::Lease>,
        event: impl Fn(usize, Fence) -> Event,
    ) -> Result<Vec<v1::LeaseStatus>, Status> {
        let mut statuses = Vec::new();
        for (index, lease) in leases.into_iter().enumerate() {
            let (id, fence) = fence(session, Some(&lease))?;
            let applied = match self.apply(&id, event(index, fence), Some(fence)).await {
                Err(Refused::ByRule(Refusal::AlreadyDone, task)) => Ok(*task),
                Err(Refused::Away) => return Err(Refused::Away.into()),
                applied => applied,
            };
            let verdict = match applied {
                Ok(task) if task.state == TaskState::Cancelling => v1::LeaseVerdict::Cancel,
                Ok(_) => v1::LeaseVerdict::Ok,
                Err(_) => v1::LeaseVerdict::Lost,
            };
            statuses.push(v1::LeaseStatus { lease: Some(lease), verdict: verdict.into() });
        }
        Ok(statuses)
    }

    pub async fn settle(
        &self,
        session: &Session,
        lease: Option<&v1::Lease>,
        settle: Settle,
    ) -> Result<Task, Status> {
        let (id, fence) = fence(session, lease)?;
        let digest = digest::settle(&settle, None);
        let event = Event::Settle { fence, settle, digest, exit_code: None, usage: None };
        match self.apply(&id, event, Some(fence)).await {
            Err(Refused::ByRule(Refusal::AlreadyDone, task)) => Ok(*task),
            applied => Ok(applied?),
        }
    }

    /// What a former session held goes back, but for what is kept.
    pub async fn give_back(
        &self,
        session_id: i64,
        keep: &[(TaskId, i32)],
        has_left: bool,
    ) -> Result<(), Status> {
        self.statement().await?;
        for task in self.database.held(session_id) {
            if keep.contains(&(task.id.clone(), task.attempt)) {
                continue;
            }
            let fence = Fence { attempt: task.attempt, session_id };
            let event = if has_left && task.state == TaskState::Running {
                let settle = Settle::release(FailureReason::Drained, "its worker left", 0);
                let digest = digest::settle(&settle, None);
                Event::Settle { fence, settle, digest, exit_code: None, usage: None }
            } else {
                Event::WorkerRestarted
            };
            self.statement().await?;
            // If it has moved on, whoever moved it has taken care of it.
            if let Ok(step) = transition(&task, &event, self.database.now_ms()) {
                self.database.write(vec![Write { before: task, event, step, asked: None }]);
            }
        }
        Ok(())
    }

    /// Claims for an acquire, also what has become due meanwhile. None, if others were faster.
    pub fn claim(&self, session: &Session, acquire_id: &str, seen: Vec<Task>, starts: bool) {
        let now_ms = self.database.now_ms();
        let claims = seen.into_iter().filter_map(|before| {
            let (worker_id, session_id) = (session.worker_id.clone(), session.id);
            let event = Event::Claim { worker_id, session_id, handout_ttl_ms: HANDOUT_MS };
            let step = transition(&before, &event, now_ms).ok()?;
            let claimed = step.task.clone();
            let mut writes = vec![Write { before, event, step, asked: None }];
            if starts {
                let fence = Fence { attempt: claimed.attempt, session_id };
                let event = Event::Start { fence, lease_ttl_ms: LEASE_MS };
                let step = transition(&claimed, &event, now_ms).ok()?;
                writes.push(Write { before: claimed, event, step, asked: Some(fence) });
            }
            Some(writes)
        });
        self.database.claim(session.id, acquire_id, claims.collect());
    }

    /// SCHEDULED and due.
    pub fn promote(&self) {
        let now_ms = self.database.now_ms();
        for before in self.database.queue(TaskState::Scheduled) {
            let event = Event::Promote;
            if let Ok(step) = transition(&before, &event, now_ms) {
                self.database.write(vec![Write { before, event, step, asked: None }]);
            }
        }
    }

    pub async fn acquire(
        &self,
        session: &Session,
        request: &v1::AcquireTasksRequest,
    ) -> Result<Vec<v1::LeasedTask>, Status> {
        let wait_ms = request.wait.as_ref().and_then(duration_ms).unwrap_or(0);
        let until_ms = self.database.now_ms() + wait_ms;
        loop {
            self.statement().await?;
            if let Some(rows) = self.database.acquired(session.id, &request.acquire_id) {
                self.statement().await?;
                let leased = |row| super::answer::leased(row, self.database.bug);
                return Ok(rows.into_iter().map(leased).collect());
            }
            self.promote();
            let mut seen = self.database.queue(TaskState::Pending);
            seen.truncate(request.max_tasks as usize);
            self.statement().await?;
            // A session that is over claims nothing.
            if !seen.is_empty() && self.database.worker_of(session.id).is_some() {
                self.claim(session, &request.acquire_id, seen, request.start);
                self.committed().await?;
                continue;
            }
            if self.database.now_ms() >= until_ms {
                return Ok(Vec::new());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

pub fn fence(session: &Session, lease: Option<&v1::Lease>) -> Result<(TaskId, Fence), Status> {
    let invalid = || status::plain(ErrorReason::InvalidFields);
    let lease = lease.ok_or_else(invalid)?;
    let id = lease.task_id.parse().map_err(|_| invalid())?;
    Ok((id, Fence { attempt: lease.attempt, session_id: session.id }))
}

/// How an attempt ended, in the words of the core.
pub fn ending(outcome: Outcome) -> (Option<v1::Lease>, Settle) {
    let said = |failure: Option<v1::Failure>, or: FailureReason| {
        let failure = failure.unwrap_or_default();
        let code = i16::try_from(failure.reason).unwrap_or(0);
        let known = FailureReason::ALL.into_iter().find(|reason| reason.code() == code);
        (known.unwrap_or(or), failure.message)
    };
    match outcome {
        Outcome::Complete(call) => {
            (call.lease, Settle::complete(call.result.map(super::answer::content_of)))
        }
        Outcome::Fail(call) => {
            let (reason, message) = said(call.failure, FailureReason::Error);
            let hint = match call.retry_after.as_ref().and_then(duration_ms) {
                _ if call.permanent => RetryHint::Never,
                Some(ms) => RetryHint::AfterMs(ms),
                None => RetryHint::ByPolicy,
            };
            (call.lease, Settle::Fail { reason, message, hint })
        }
        Outcome::Release(call) => {
            let (reason, message) = said(call.failure, FailureReason::Drained);
            let delay_ms = call.delay.as_ref().and_then(duration_ms).unwrap_or(0);
            let context = call.context.map(super::answer::content_of);
            let hand_over = HandOver { context, avoid_host: None };
            (call.lease, Settle::Release { reason, message, delay_ms, hand_over })
        }
    }
}

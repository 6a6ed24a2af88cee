//! Outcomes that the broker has not confirmed yet.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::outcome::Outcome;
use crate::v1::{
    AttemptUsage, CompleteTaskRequest, FailTaskRequest, Failure, FailureReason, Lease,
    ReleaseTaskRequest,
};

/// The call that ends an attempt; its `session_id` is filled in when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum SettleCall {
    /// CompleteTask.
    Complete(CompleteTaskRequest),
    /// FailTask.
    Fail(FailTaskRequest),
    /// ReleaseTask.
    Release(ReleaseTaskRequest),
}

/// A broker refuses longer waits, and with them the outcome.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3_600);

impl SettleCall {
    /// The call for this outcome; `None` when nothing is to be said.
    pub(super) fn of(
        lease: &Lease,
        outcome: &Outcome,
        usage: Option<AttemptUsage>,
    ) -> Option<Self> {
        let lease = Some(lease.clone());
        let session_id = String::new();
        let failure = |reason: &FailureReason, message: &String| {
            Some(Failure { reason: (*reason).into(), message: message.clone() })
        };
        let span = |wait: &Option<std::time::Duration>| {
            let ms = (*wait)?.min(WAIT_MAX).as_millis();
            Some(asyncflow_proto::time::duration(i64::try_from(ms).unwrap_or(i64::MAX)))
        };
        Some(match outcome {
            Outcome::Abandoned => return None,
            Outcome::Succeeded { result, exit_code } => Self::Complete(CompleteTaskRequest {
                session_id,
                lease,
                result: result.clone(),
                exit_code: *exit_code,
                usage,
            }),
            Outcome::Failed { reason, message, permanent, retry_after, exit_code } => {
                Self::Fail(FailTaskRequest {
                    session_id,
                    lease,
                    failure: failure(reason, message),
                    permanent: *permanent,
                    retry_after: span(retry_after),
                    exit_code: *exit_code,
                    usage,
                })
            }
            Outcome::Released { reason, message, delay, exit_code, context, elsewhere } => {
                Self::Release(ReleaseTaskRequest {
                    session_id,
                    lease,
                    failure: failure(reason, message),
                    delay: span(delay),
                    exit_code: *exit_code,
                    usage,
                    context: context.clone(),
                    elsewhere: *elsewhere,
                    ..Default::default()
                })
            }
            Outcome::Waiting { wait_for, or_fail, exit_code } => {
                Self::Release(ReleaseTaskRequest {
                    session_id,
                    lease,
                    failure: or_fail.as_ref().and_then(|why| failure(&FailureReason::Error, why)),
                    exit_code: *exit_code,
                    usage,
                    wait_for: Some(wait_for.clone()),
                    ..Default::default()
                })
            }
        })
    }

    /// The lease that it ends.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Complete(call) => call.lease.as_ref(),
            Self::Fail(call) => call.lease.as_ref(),
            Self::Release(call) => call.lease.as_ref(),
        }
    }
}

/// Keeps outcomes from the moment in which they are known until the broker has confirmed them.
#[async_trait]
pub trait ResultJournal: Send + Sync + 'static {
    /// Must be durable when it returns; an error stops the worker from taking new tasks until a
    /// later record gets through. The outcome is delivered from memory all the same.
    async fn record(&self, call: &SettleCall) -> std::io::Result<()>;
    /// The broker has it.
    async fn confirmed(&self, lease: &Lease);
    /// The broker will never take it (LEASE_LOST …); keep it for people.
    async fn rejected(&self, lease: &Lease, why: &str);
    /// What a former process recorded and nobody confirmed.
    async fn pending(&self) -> Vec<SettleCall>;
}

/// For workers that need not survive their own end.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<HashMap<(String, i32), SettleCall>>);

impl MemoryJournal {
    fn with<T>(&self, run: impl FnOnce(&mut HashMap<(String, i32), SettleCall>) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ResultJournal for MemoryJournal {
    async fn record(&self, call: &SettleCall) -> std::io::Result<()> {
        if let Some(lease) = call.lease() {
            let key = (lease.task_id.clone(), lease.attempt);
            self.with(|calls| calls.insert(key, call.clone()));
        }
        Ok(())
    }

    async fn confirmed(&self, lease: &Lease) {
        self.with(|calls| calls.remove(&(lease.task_id.clone(), lease.attempt)));
    }

    async fn rejected(&self, lease: &Lease, _why: &str) {
        self.confirmed(lease).await;
    }

    async fn pending(&self) -> Vec<SettleCall> {
        self.with(|calls| calls.values().cloned().collect())
    }
}

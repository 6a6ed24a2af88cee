//! Why a call is refused, before it becomes a status.

use asyncflow_core::{
    access::Denied,
    id::{OperationId, ScheduleId, TaskId, TypeName, WorkflowId},
    transition::Refusal,
    violation::{Violation, Violations},
    workflow::progress::WorkflowState,
};
use asyncflow_store::{RetryWorkflowError, SignalError, StoreError};

use crate::batch::BatchError;

/// Why a verb did not do what it was asked. [`crate::status`] makes the answer of it.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error("{0}")]
    Invalid(Violations),
    #[error("there is no task type {0}")]
    UnknownType(TypeName),
    #[error("the task type {0} exists already")]
    TypeExists(TypeName),
    /// One text for an unknown task and for one that the caller may not see.
    #[error("there is no task {0}")]
    TaskNotFound(TaskId),
    /// Its shard was dropped; `archive` is where the manifest of its archive is, or empty.
    #[error("the task {id} is not kept any more{}", archived(.archive))]
    Expired { id: TaskId, archive: String },
    /// A request that is repeated created it.
    #[error("this request created the task {0}, which was deleted since")]
    Deleted(TaskId),
    #[error("the request id was used for another request, which created {0}")]
    RequestIdReused(TaskId),
    /// One text for an unknown workflow and for one that the caller may not see.
    #[error("there is no workflow {0}")]
    WorkflowNotFound(WorkflowId),
    #[error("the request id was used for another request, which created {0}")]
    WorkflowRequestIdReused(WorkflowId),
    /// A task that could never run, and why.
    #[error("it could never run: {0}")]
    InVain(String),
    /// A signal for something that has ended, or has too many.
    #[error("{0}")]
    NotSignalled(SignalError),
    /// One text for an unknown operation and for one that the caller may not see.
    #[error("there is no operation {0}")]
    OperationNotFound(OperationId),
    #[error("the request id was used for another request, which began {0}")]
    OperationRequestIdReused(OperationId),
    #[error("{0} of your operations have not ended, wait for one of them or cancel it")]
    TooManyOperations(u32),
    /// One text for an unknown schedule and for one that the caller may not see.
    #[error("there is no schedule {0}")]
    ScheduleNotFound(ScheduleId),
    #[error("the request id was used for another request, which created {0}")]
    ScheduleRequestIdReused(ScheduleId),
    #[error("there is no host {0}")]
    HostNotFound(String),
    #[error("{0} has not reported a GPU {1}")]
    GpuNotFound(String, String),
    #[error("the GPU {1} of {0} has no process {2}")]
    GpuProcessNotFound(String, String, i32),
    /// A task that cannot be asked to go, and why.
    #[error("{0}")]
    NotHandedOver(String),
    #[error("a workflow in state {} cannot be cancelled", .0.name())]
    WorkflowIsOver(WorkflowState),
    #[error("{0} cannot be retried: {1}")]
    WorkflowRefused(WorkflowId, RetryWorkflowError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the session is not known, register again")]
    UnknownSession,
    #[error("the worker did not register the type {0}")]
    NotItsType(TypeName),
    #[error(transparent)]
    Forbidden(Denied),
    #[error("the changes since the resume token are not kept any more, start anew")]
    ResumeTokenTooOld,
    #[error("the reader is too slow for this stream, go on from the last resume token or offset")]
    SlowReader,
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the broker is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn archived(archive: &str) -> String {
    if archive.is_empty() { String::new() } else { format!("; its archive is {archive}") }
}

impl From<Violations> for RpcError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<Violation> for RpcError {
    fn from(violation: Violation) -> Self {
        Self::Invalid(violation.into())
    }
}

impl RpcError {
    /// One field is wrong.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let mut violations = Violations::new();
        violations.add(field, description);
        Self::Invalid(violations)
    }
}

//! Why a call is refused: the `reason` of `google.rpc.ErrorInfo`, each with one code.
//!
//! `docs/errors/<REASON>.md` explains each of them to the one who meets it; a test keeps that
//! folder and this list equal.

use std::fmt;

/// The gRPC codes that we answer with; the numbers are gRPC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// gRPC's name, in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// What the caller may do with a refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The same call will be refused again: change it, or the state of things, first.
    Pointless,
    /// The same call may succeed a little later; nothing was done.
    Later,
    /// It is not known whether it was done. Repeat it if it is idempotent: a create with its
    /// `request_id`, a settle, any read.
    OutcomeUnknown,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $code:ident $repeat:ident,)+) => {
        /// Why a call is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ErrorReason {
            /// Every reason.
            pub const ALL: &'static [ErrorReason] = &[$(Self::$variant,)+];

            /// The text in `ErrorInfo.reason`, stable for ever.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The gRPC code that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            /// What the caller may do.
            pub const fn repeat(self) -> Repeat {
                match self { $(Self::$variant => Repeat::$repeat,)+ }
            }

            /// What it means, in a sentence or two.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// Fields of the request are wrong; `BadRequest` lists every one of them.
    InvalidFields "INVALID_FIELDS" InvalidArgument Pointless,
    /// No task type of this name is registered and types are not created automatically.
    UnknownTaskType "UNKNOWN_TASK_TYPE" NotFound Pointless,
    /// There is no such task, or the caller may not see it.
    TaskNotFound "TASK_NOT_FOUND" NotFound Pointless,
    /// There is no such workflow, or the caller may not see it.
    WorkflowNotFound "WORKFLOW_NOT_FOUND" NotFound Pointless,
    /// There is no such operation, or the caller may not see it.
    OperationNotFound "OPERATION_NOT_FOUND" NotFound Pointless,
    /// There is no such schedule, or the caller may not see it.
    ScheduleNotFound "SCHEDULE_NOT_FOUND" NotFound Pointless,
    /// No worker of this id is registered.
    HostNotFound "HOST_NOT_FOUND" NotFound Pointless,
    /// The host has not reported such a GPU, or such a process on it.
    GpuNotFound "GPU_NOT_FOUND" NotFound Pointless,
    /// The table that held the task was dropped when its retention was over.
    Expired "EXPIRED" NotFound Pointless,
    /// A task type of this name is already registered.
    AlreadyExists "ALREADY_EXISTS" AlreadyExists Pointless,
    /// The request id was used before, by this user, for another request.
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists Pointless,
    /// The task's state does not allow it.
    IllegalState "ILLEGAL_STATE" FailedPrecondition Pointless,
    /// A task that it would have to wait for is not there, or has not succeeded.
    PredecessorUnmet "PREDECESSOR_UNMET" FailedPrecondition Pointless,
    /// Another attempt is in force, or none: the worker must stop this one and forget it.
    LeaseLost "LEASE_LOST" Aborted Pointless,
    /// The attempt is in force, but another session holds it.
    NotYourLease "NOT_YOUR_LEASE" PermissionDenied Pointless,
    /// The context was saved by somebody else since it was read.
    ContextVersion "CONTEXT_VERSION" Aborted Pointless,
    /// It was changed by somebody else since it was read: the etag is not the one in force.
    RevisionMismatch "REVISION_MISMATCH" Aborted Pointless,
    /// The worker's session is not known here: it has to register again.
    UnknownSession "UNKNOWN_SESSION" FailedPrecondition Pointless,
    /// The changes since that resume token are not kept any more: start the watch anew.
    ResumeTokenTooOld "RESUME_TOKEN_TOO_OLD" OutOfRange Pointless,
    /// The database cannot be reached or does not answer; nothing was written.
    DatabaseUnavailable "DATABASE_UNAVAILABLE" Unavailable Later,
    /// The connection broke while a commit was under way and reading back did not tell how it
    /// ended.
    CommitUnconfirmed "COMMIT_UNCONFIRMED" Unavailable OutcomeUnknown,
    /// Others changed the same rows again and again; nothing was written.
    Contention "CONTENTION" Unavailable Later,
    /// The database has no room left; nothing was written.
    StorageFull "STORAGE_FULL" ResourceExhausted Later,
    /// This server is shutting down: another one, or the next one, will answer.
    ShuttingDown "SHUTTING_DOWN" Unavailable Later,
    /// More calls are in progress than this server accepts.
    Overloaded "OVERLOADED" ResourceExhausted Later,
    /// So many of the caller's operations have not ended that no other is begun.
    TooManyOperations "TOO_MANY_OPERATIONS" ResourceExhausted Later,
    /// The call has no valid token.
    Unauthenticated "UNAUTHENTICATED" Unauthenticated Pointless,
    /// The caller is known but may not do this.
    PermissionDenied "PERMISSION_DENIED" PermissionDenied Pointless,
    /// The message is larger than the transport accepts.
    MessageTooLarge "MESSAGE_TOO_LARGE" ResourceExhausted Pointless,
    /// The call's deadline passed before there was an answer.
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded OutcomeUnknown,
    /// This governor stands by; another one leads.
    NotLeader "NOT_LEADER" FailedPrecondition Later,
    /// There is no such shard.
    ShardNotFound "SHARD_NOT_FOUND" NotFound Pointless,
    /// The shard is open, holds tasks that are not terminal, or is already being dropped.
    ShardInUse "SHARD_IN_USE" FailedPrecondition Pointless,
    /// The governor has no archive to write to: `archive.url` is not set.
    NoArchive "NO_ARCHIVE" FailedPrecondition Pointless,
    /// The archive could not be written or read back; the shard stays as it was.
    ArchiveUnavailable "ARCHIVE_UNAVAILABLE" Unavailable Later,
    /// The governor has no duty of this name.
    UnknownDuty "UNKNOWN_DUTY" NotFound Pointless,
    /// The result is over its limit; the attempt fails and is not repeated.
    ResultTooLarge "RESULT_TOO_LARGE" InvalidArgument Pointless,
    /// A defect of asyncflow. The server's log has the details.
    Internal "INTERNAL" Internal OutcomeUnknown,
}

impl ErrorReason {
    /// Whether the same call may succeed later, so that the answer carries `RetryInfo`.
    pub const fn retryable(self) -> bool {
        matches!(self.repeat(), Repeat::Later)
            || matches!(self, Self::CommitUnconfirmed | Self::DeadlineExceeded)
    }

    /// Whether the call may have been carried out although it was refused.
    pub const fn outcome_unknown(self) -> bool {
        matches!(self.repeat(), Repeat::OutcomeUnknown)
    }
}

impl fmt::Display for ErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

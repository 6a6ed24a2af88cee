//! Why an attempt or a task failed. Reasons, not states: a task that timed out is FAILED.

/// The reason of a failure. The numbers are stored and equal those of the proto enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FailureReason {
    /// The task's own code failed: an exit code, an error from a handler.
    Error = 1,
    /// Retrying cannot help: bad input, command not found, permission denied.
    Permanent = 2,
    /// Ran longer than `max_running_time`.
    TimedOut = 3,
    /// Its worker was not heard of and the lease was taken back.
    LeaseLost = 4,
    /// Its worker was lost more often than `max_crashes` while it ran this task.
    Poison = 5,
    /// Somebody cancelled it.
    Cancelled = 6,
    /// A signal that nobody of ours sent ended the process.
    Killed = 7,
    /// The worker gave it back: drain or shutdown.
    Drained = 8,
    /// It saved its context and asked to be run again (exit code 85).
    Checkpointed = 9,
    /// It asked to be retried later (exit code 75).
    RetryLater = 10,
    /// The result is over its limit.
    ResultTooLarge = 11,
    /// The command cannot be executed: not found (127), not executable (126), no such directory.
    CommandNotRunnable = 12,
    /// The worker does not know how to run a task of this type.
    NoHandler = 13,
    /// The context or payload could not be parsed by the handler.
    BadContext = 14,
    /// A task that it waited for failed.
    DependencyFailed = 15,
    /// It was not started before its expiry.
    Expired = 16,
    /// Handed out, but the worker never said that it started.
    NotStarted = 17,
    /// Its worker came back as a new process and did not adopt it.
    WorkerRestarted = 18,
    /// It returned a result for which its `success_if` does not hold.
    ResultRefused = 19,
    /// It gave its slot back until its children are done, or signals have come.
    Waiting = 20,
    /// Its twin was done first.
    Overtaken = 21,
    /// The host had no memory for it.
    OutOfMemory = 22,
    /// It asked a GPU for more memory than there was.
    GpuOutOfMemory = 23,
    /// A GPU that it used broke.
    GpuFault = 24,
    /// It used a GPU that it was not given.
    Trespassed = 25,
    /// It had to make room for others.
    Preempted = 26,
    /// It goes on in another attempt, on another host if there is one for it.
    HandedOver = 27,
}

impl FailureReason {
    pub const ALL: [FailureReason; 27] = [
        Self::Error,
        Self::Permanent,
        Self::TimedOut,
        Self::LeaseLost,
        Self::Poison,
        Self::Cancelled,
        Self::Killed,
        Self::Drained,
        Self::Checkpointed,
        Self::RetryLater,
        Self::ResultTooLarge,
        Self::CommandNotRunnable,
        Self::NoHandler,
        Self::BadContext,
        Self::DependencyFailed,
        Self::Expired,
        Self::NotStarted,
        Self::WorkerRestarted,
        Self::ResultRefused,
        Self::Waiting,
        Self::Overtaken,
        Self::OutOfMemory,
        Self::GpuOutOfMemory,
        Self::GpuFault,
        Self::Trespassed,
        Self::Preempted,
        Self::HandedOver,
    ];

    /// The stored number.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The reason with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Whether a worker may give it; the others are found out by brokers and the governor.
    pub const fn is_for_workers(self) -> bool {
        match self {
            Self::Error
            | Self::Permanent
            | Self::TimedOut
            | Self::Cancelled
            | Self::Killed
            | Self::Drained
            | Self::Checkpointed
            | Self::RetryLater
            | Self::ResultTooLarge
            | Self::CommandNotRunnable
            | Self::NoHandler
            | Self::BadContext
            | Self::NotStarted
            | Self::OutOfMemory
            | Self::GpuOutOfMemory
            | Self::GpuFault
            | Self::Trespassed
            | Self::Preempted
            | Self::HandedOver => true,
            Self::LeaseLost
            | Self::Poison
            | Self::DependencyFailed
            | Self::Expired
            | Self::WorkerRestarted
            | Self::ResultRefused
            | Self::Waiting
            | Self::Overtaken => false,
        }
    }

    /// Whether another attempt is pointless whatever the budget says.
    pub const fn is_permanent(self) -> bool {
        matches!(
            self,
            Self::Permanent
                | Self::Poison
                | Self::ResultTooLarge
                | Self::CommandNotRunnable
                | Self::BadContext
                | Self::DependencyFailed
                | Self::Expired
        )
    }
}

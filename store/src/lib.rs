//! Everything that asyncflow knows about its database: the only crate with SQL.
//!
//! ```text
//!   verb (task/claim.rs …) ─▶ core::transition ─▶ task/write.rs ─▶ ledger.rs ─▶ COMMIT
//!        rows locked by key      pure                changed columns   counts, change log
//! ```
//!
//! Invariants
//! 1. A task changes only by `core::transition`, applied to a row that is locked in the same
//!    transaction, at the database's time, and only if the row's revision is still the one read.
//! 2. Every edge is in the counts and in the change log of the transaction that made it.
//! 3. Locks and wake-ups (`lock/`, `wake/`) make things faster and are never needed to be right.
//! 4. No type of sea-orm, sqlx or Redis leaves this crate.

mod advice;
mod backend;
mod broker;
mod change;
mod clock;
mod condition;
mod connect;
mod durability;
mod duty;
mod error;
pub mod fault;
mod host;
mod leader;
mod ledger;
pub mod lock;
mod log;
mod nodelay;
mod operation;
mod options;
mod place;
mod schedule;
mod shard;
mod sql;
mod task;
mod task_type;
#[cfg(feature = "testing")]
pub mod testing;
mod twin;
mod txn;
mod usage;
pub mod wake;
mod worker;
mod workflow;

pub use backend::Backend;
pub use change::{Change, ChangeRow, ChangeTail, WorkflowChange};
pub use condition::{CreateWaitingError, SignalError};
pub use connect::Store;
pub use duty::DutyRuns;
pub use error::{Cause, StoreError};
pub use host::{HostOrder, HostRow};
pub use leader::{Leader, LeaderFence};
pub use log::{LogChunk, LogPage, LogStream};
pub use operation::{
    Advance, CreateOperationError, CreatedOperation, Matching, Operation, OperationLease,
};
pub use options::{LockKind, StoreOptions};
pub use schedule::{
    Backfilled, CreateScheduleError, CreatedSchedule, Fire, Fired, NewSchedule, QueuedPlace,
    RanSchedule, Schedule, ScheduleChange, ScheduleError, Standing,
};
pub use shard::{
    Archived, CompareLimits, Compared, Comparison, Drained, Drift, DropCheck, DropOutcome,
    DropTerms, ShardCount, ShardPage, ShardRow,
};
pub use task::{
    Applied, ApplyError, Assigned, Candidates, ClaimRequest, Claimed, ClaimedPlaced, Count,
    CountFilter, Create, Departure, ExpiredResults, GetError, Handed, Handover, InsertError,
    InsertRefusal, Inserted, Leased, Mark, Page, Parts, PlaceRequest, PlacedTask, ResultMarks,
    SetAside, Taker, WaitingAhead,
};
pub use twin::{RunningTask, Straggler, Twin};
pub use usage::UsageByUser;
pub use worker::{Registered, Registration, Touch, WorkerRow};
pub use workflow::{
    CreateChildrenError, CreateWorkflowError, CreatedWorkflow, ItemIs, LeftOvers, NeglectedNode,
    RetryWorkflowError, Workflow, WorkflowItem, WorkflowNode, WorkflowView,
};

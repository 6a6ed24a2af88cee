//! Workflows: what follows when a part of one has ended, in the transaction in which it ends.
//!
//! A workflow's row is locked first, then its nodes are read and written without further locks, so
//! that two transactions which end parts of one workflow come one after the other. Of several
//! workflows the youngest is locked first: the item of a workflow may be a workflow of its own,
//! which is younger, and when it ends the older one is locked too.

mod again;
mod birth;
mod cancel;
mod carry_out;
mod children;
mod create;
mod follow;
mod get;
mod items;
mod known;
mod left;
mod lists;
mod live;
mod make;
mod results;
mod retry;
mod row;
mod siblings;
mod start;
mod tend;

pub use children::CreateChildrenError;
pub use create::{CreateWorkflowError, CreatedWorkflow};
pub use get::{ItemIs, WorkflowItem, WorkflowNode, WorkflowView};
pub use left::LeftOvers;
pub use retry::RetryWorkflowError;
pub use row::Workflow;
pub use tend::NeglectedNode;

pub(crate) use asyncflow_core::workflow::progress::WorkflowState;
pub(crate) use birth::Birth;
pub(crate) use children::{has_ended_children, has_live_children, is_given_up};
pub(crate) use follow::{Followed, Happened, bear, ended, follow};
pub(crate) use known::KnownFlows;
pub(crate) use left::{Left, LeftSender};
pub(crate) use live::still_live;
pub(crate) use make::Making;
pub(crate) use row::{find_root, lock, lock_root, or_replace};

//! The pure domain of asyncflow: what a task is, what can happen to it, and what follows.
//!
//! Nothing here does IO, spawns, locks or reads a clock; time is always an argument. Whoever wants
//! to know *why* the system does something finds the rule here; the other crates carry it out.

pub mod access;
pub mod command;
pub mod create;
pub mod digest;
pub mod edge;
pub mod error_reason;
pub mod etag;
pub mod event;
pub mod explain;
pub mod expression;
pub mod filter;
pub mod host;
pub mod id;
pub mod invariant;
pub mod lease;
pub mod limits;
pub mod operation;
pub mod order;
pub mod page;
pub mod placement;
pub mod reason;
pub mod resources;
pub mod resume_token;
pub mod retry;
pub mod rfc3339;
pub mod schedule;
pub mod shard;
pub mod speculation;
pub mod state;
pub mod task;
pub mod task_type;
mod text_or_base64;
pub mod transition;
pub mod usage;
pub mod validate;
pub mod verdict;
pub mod violation;
pub mod workflow;

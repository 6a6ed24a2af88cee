//! Checks of what comes from outside.
//!
//! The broker turns a request into the plain structs of these modules (strings, milliseconds,
//! maps), hands them over with the [`At`](at::At) where they stand in the request, and gets domain
//! values back or a list of everything that is wrong. One file per thing that is checked.

pub mod at;
pub mod command;
pub mod content;
pub mod label;
pub mod list;
pub mod new_task;
pub mod number;
pub mod operation;
pub mod patch;
pub mod resources;
pub mod schedule;
pub mod shard;
pub mod task_type;
pub mod text;
pub mod time;
pub mod work;
pub mod workflow;

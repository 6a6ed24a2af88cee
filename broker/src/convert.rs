//! Messages of the protocol ↔ values of the domain. Nothing else in this crate translates.

pub mod attempt;
pub mod command;
pub mod explain;
pub mod host;
pub mod host_order;
pub mod log;
pub mod new_task;
pub mod offer;
pub mod operation;
pub mod patch;
pub mod resources;
pub mod schedule;
pub mod task;
pub mod task_type;
pub mod time;
pub mod usage;
pub mod work;
pub mod workflow;

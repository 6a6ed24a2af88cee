//! The broker's conversions, compiled here once more: they know neither database nor network, and
//! the broker shows them to nobody.
#![allow(dead_code, reason = "those of answers are the broker's")]

#[path = "../../broker/src/convert/command.rs"]
pub mod command;
#[path = "../../broker/src/convert/new_task.rs"]
pub mod new_task;
#[path = "../../broker/src/convert/resources.rs"]
pub mod resources;
#[path = "../../broker/src/convert/task.rs"]
pub mod task;
#[path = "../../broker/src/convert/time.rs"]
pub mod time;

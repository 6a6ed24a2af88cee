//! A whole broker, over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bad_inputs;
mod coming_back;
mod condition;
mod dispatch;
mod expired;
mod hand_over;
mod harness;
mod host;
mod host_explain;
mod host_orders;
mod host_rights;
mod http;
mod life;
mod making_room;
mod operation;
mod placement;
mod process;
mod registry;
mod schedule;
mod speculation;
mod stream_create_tasks;
mod task_rights;
mod trace;
mod watch;
mod watch_workflow;
mod work;
mod workflow;

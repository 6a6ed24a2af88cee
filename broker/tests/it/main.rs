//! A whole broker, over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bad_inputs;
mod dispatch;
mod expired;
mod harness;
mod life;
mod process;
mod registry;
mod schedule;
mod stream_create_tasks;
mod trace;
mod watch;
mod work;
mod workflow;

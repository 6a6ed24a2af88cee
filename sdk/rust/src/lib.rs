//! asyncflow for Rust: a client that creates and follows tasks, and a runtime that works on them.
//!
//! [`Client`] is for owners of tasks. [`worker::WorkerBuilder`] is for programs that run tasks by
//! handlers of their own; the `asyncflow-worker` binary is built on the same runtime. See
//! `examples/resize.rs` for both in one file.

mod channel;
mod client;
mod clock;
pub mod code;
mod environment;
mod error;
pub mod json;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod status;
mod trace;
pub mod worker;

/// The messages of `asyncflow.v1`.
pub use asyncflow_proto::v1;
pub use channel::{AuthorizedChannel, CallHeaders, ChannelOptions};
pub use client::{Client, ClientOptions, is_over, is_terminal, is_workflow_over};
pub use error::{Error, Violation};

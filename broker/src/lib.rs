//! The broker: serves tasks to those who own them and to those who work on them.
//!
//! ```text
//!  BrokerService ─┐                ┌─▶ ingest ─┐
//!  WorkerService ─┴─▶ rpc/<verb> ──┼─▶ settle ─┼─▶ store
//!                     convert core └─▶ dispatch┘
//!                                       feed ◀── change log
//! ```
//!
//! It keeps nothing that the database does not have: any number of brokers work side by side on one
//! database, and each can be killed at any moment.
// A call of a service is one future from its handler down to the statements of its transaction.
#![recursion_limit = "256"]

mod batch;
mod broker;
mod clock;
mod closed;
pub mod config;
mod convert;
mod dependent;
mod dispatch;
mod error;
mod feed;
mod ingest;
mod lookups;
mod operations;
mod orders;
mod presence;
mod principal;
mod rpc;
mod run;
mod session;
mod settle;
mod status;
mod touch;
mod watch;

/// What [`run`] is handed; here so that a program which embeds a broker need not know the store.
pub use asyncflow_store::{Store, StoreError};
pub use config::{Args, BrokerConfig};
pub use run::{BrokerError, execute, http_api, run, run_with_http};

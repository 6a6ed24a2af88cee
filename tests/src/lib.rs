//! The harness of the integration tests: real databases, real processes, real signals.
//!
//! A [`Cluster`] is a database with brokers, workers and governors as processes of the `asyncflow`
//! binary, with leases of seconds instead of minutes. Whatever a test does to them, nothing
//! outlives the test.

mod backend;
pub mod checker;
mod clock;
mod cluster;
pub mod evidence;
mod fault;
mod governor;
mod gpus;
pub mod guard;
#[allow(clippy::unwrap_used, reason = "a test's stage")]
pub mod mixed_load;
mod on_each_database;
mod program;
pub mod proxy;
pub mod redis;
mod seed;
mod tasks;

pub use backend::{Backend, Database};
pub use clock::Stopwatch;
pub use cluster::{Cluster, LEASE, PATIENCE, Shape};
pub use fault::{Faults, Stop};
pub use governor::Governor;
pub use gpus::{Cards, FakeGpus};
pub use guard::Seen;
pub use program::{Program, asyncflow};
pub use seed::seed;
pub use tasks::{command, is_alive, runs_until, sh, until, until_started, within};

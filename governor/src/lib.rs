//! The governor: the one process that looks after what nobody else is left to look after.
//!
//! ```text
//!            ┌── lead.rs ──────── renews a fenced lease in the database, or stands by ──┐
//!  run.rs ───┼── schedule.rs ──── runs each duty while leading ─▶ duty/<name>.rs ───────┼─▶ store
//!            ├── archive.rs ───── a drained shard into the archive ────────────────────┤
//!            └── rpc/ ─────────── GovernorService: status, shards, leader, run, resign ─┘
//! ```
//!
//! Invariants
//! 1. A duty writes only under the epoch of its term: the store refuses an older one.
//! 2. Everything is also a conditional change per task, so that two governors would be harmless.
//! 3. No duty reads a wall clock: what is due is the database's to say, and the time between two
//!    looks is taken from this process's monotonic clock.
//! 4. Without a governor no task is lost and none is stuck that has a live worker.

mod archive;
mod args;
mod clock;
mod config;
mod convert;
mod duty;
mod lead;
mod outage;
mod rpc;
mod run;
mod schedule;
mod status;
#[cfg(test)]
mod testing;

pub use archive::{Archiver, ArchivingError};
pub use args::{Args, execute};
pub use config::{
    ArchiveConfig, DEFAULT_CONFIG, DatabaseConfig, DutiesConfig, ENV_PREFIX, GovernorConfig,
    LeaderConfig, LeaseConfig, RedisConfig, RetentionConfig,
};
pub use run::{GovernorError, http_api, run};

//! How to reach the database and Redis.

use std::time::Duration;

/// What [`crate::Store::connect`] needs to know. Bounds are checked there.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite:///path/to/file`, `mysql://user:password@host/database` or `postgres://…`.
    pub url: String,
    /// Connections of the pool; on SQLite those for reading, beside the one that writes.
    pub max_connections: u32,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a call waits for a connection of the pool.
    pub acquire_timeout: Duration,
    /// The longest that any call takes, retries included.
    pub call_timeout: Duration,
    /// Which locks thin out contention between brokers.
    pub lock: LockKind,
    /// `redis://host:port`; wake-ups go through it too when it is set.
    pub redis_url: Option<String>,
    /// Prefix of all Redis keys and channels, so that installations can share a server.
    pub redis_prefix: String,
    /// Where a test says at which points to stop, see [`crate::fault`].
    #[cfg(feature = "fault-points")]
    pub fault_dir: Option<std::path::PathBuf>,
}

/// Where locks are kept. Correctness never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// In this process: enough for one broker.
    Memory,
    /// In a table.
    Database,
    /// In Redis; needs `redis_url`.
    Redis,
}

impl StoreOptions {
    /// Sensible values for everything but the address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(15),
            lock: LockKind::Memory,
            redis_url: None,
            redis_prefix: "asyncflow".into(),
            #[cfg(feature = "fault-points")]
            fault_dir: std::env::var_os(crate::fault::DIR_VARIABLE).map(Into::into),
        }
    }
}

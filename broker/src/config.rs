//! The broker's settings. `config.default.toml` has them all with their meaning.

use std::{path::PathBuf, time::Duration};

use asyncflow_core::limits::{DURATION_MS_MAX, LEASE_MS_MAX};
use asyncflow_service::config::{
    self, ConfigErrors, ListenConfig, LogConfig, MetricsConfig, Rules, Sources, Validate,
};
use asyncflow_store::{LockKind, StoreOptions};
use serde::{Deserialize, Serialize};

/// The commented defaults, for `asyncflow config`.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
/// The prefix of environment variables: `ASYNCFLOW_BROKER__LISTEN__ADDRESS`.
pub const ENV_PREFIX: &str = "ASYNCFLOW_BROKER";

/// What the broker is told on its command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// A TOML file over the built-in defaults.
    #[arg(long, value_name = "FILE", env = "ASYNCFLOW_BROKER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Sets one key over everything else, e.g. --set listen.address=127.0.0.1:0.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Args {
    /// The layers of the configuration.
    pub fn sources(&self) -> Sources {
        let sources = Sources::new(DEFAULTS, ENV_PREFIX).file(self.config.clone());
        self.settings.iter().fold(sources, |sources, (key, value)| sources.flag(key, value))
    }
}

/// All settings, validated by [`load`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BrokerConfig {
    pub drain_time_ms: i64,
    pub auto_create_task_types: bool,
    pub listen: ListenConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub dispatch: DispatchConfig,
    pub placement: PlacementConfig,
    pub lease: LeaseConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub metrics: MetricsConfig,
}

/// `[database]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseConfig {
    pub url: String,
    pub max_connections: u32,
    pub call_timeout_ms: i64,
    /// Refuse to start on a server that does not keep what it has acknowledged.
    pub strict_durability: bool,
}

/// `[redis]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedisConfig {
    /// Empty: none.
    pub url: String,
    pub prefix: String,
}

/// `[dispatch]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DispatchConfig {
    pub lock: LockChoice,
    pub lock_ttl_ms: i64,
    pub poll_interval_ms: i64,
}

/// `[placement]`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PlacementConfig {
    pub hold_after_ms: i64,
    pub preempt_after_ms: i64,
}

/// `[lease]`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LeaseConfig {
    pub ttl_ms: i64,
    pub heartbeat_interval_ms: i64,
    pub handout_ttl_ms: i64,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LimitsConfig {
    pub message_bytes_max: usize,
    pub batch_rows_max: usize,
    pub queue_rows_max: usize,
    pub queue_bytes_max: usize,
    pub watch_lag_max: usize,
    pub operations_per_user_max: u32,
}

/// `dispatch.lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LockChoice {
    Memory,
    Database,
    Redis,
}

impl TryFrom<String> for LockChoice {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "memory" => Ok(Self::Memory),
            "database" => Ok(Self::Database),
            "redis" => Ok(Self::Redis),
            _ => Err("it must be \"memory\", \"database\" or \"redis\""),
        }
    }
}

/// Loads and checks the settings.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(sources: &Sources) -> Result<BrokerConfig, ConfigErrors> {
    config::load(sources)
}

impl Validate for BrokerConfig {
    fn validate(&self, rules: &mut Rules) {
        rules.require(
            (0..=600_000).contains(&self.drain_time_ms),
            "drain_time_ms",
            "it must be 0 to 600,000",
        );
        rules.section("listen", &self.listen);
        rules.section("database", &self.database);
        rules.section("dispatch", &self.dispatch);
        rules.section("placement", &self.placement);
        rules.section("lease", &self.lease);
        rules.section("limits", &self.limits);
        rules.section("log", &self.log);
        rules.section("metrics", &self.metrics);
        let url = self.redis.url.as_str();
        let redis = url.is_empty() || url.starts_with("redis://") || url.starts_with("rediss://");
        rules.require(redis, "redis.url", "it must begin with redis:// or rediss://, or be empty");
        rules.require(
            self.dispatch.lock != LockChoice::Redis || !url.is_empty(),
            "redis.url",
            "it must be set when dispatch.lock is \"redis\"",
        );
    }
}

impl Validate for DatabaseConfig {
    fn validate(&self, rules: &mut Rules) {
        let schemes = ["sqlite:", "mysql://", "mariadb://", "postgres://", "postgresql://"];
        rules.require(
            schemes.iter().any(|scheme| self.url.starts_with(scheme)),
            "url",
            "it must begin with sqlite:, mysql:// or postgres://",
        );
        let pool = (1..=1_000).contains(&self.max_connections);
        rules.require(pool, "max_connections", "it must be 1 to 1,000");
        let timeout = (100..=600_000).contains(&self.call_timeout_ms);
        rules.require(timeout, "call_timeout_ms", "it must be 100 to 600,000");
    }
}

impl Validate for DispatchConfig {
    fn validate(&self, rules: &mut Rules) {
        let ttl = (300..=60_000).contains(&self.lock_ttl_ms);
        rules.require(ttl, "lock_ttl_ms", "it must be 300 to 60,000");
        let poll = (10..=60_000).contains(&self.poll_interval_ms);
        rules.require(poll, "poll_interval_ms", "it must be 10 to 60,000");
    }
}

impl Validate for PlacementConfig {
    fn validate(&self, rules: &mut Rules) {
        for (key, value) in
            [("hold_after_ms", self.hold_after_ms), ("preempt_after_ms", self.preempt_after_ms)]
        {
            let fits = (0..=DURATION_MS_MAX).contains(&value);
            rules.require(fits, key, "it must be 0 to 31,536,000,000 (365 days)");
        }
    }
}

impl Validate for LeaseConfig {
    fn validate(&self, rules: &mut Rules) {
        for (key, value) in [
            ("ttl_ms", self.ttl_ms),
            ("heartbeat_interval_ms", self.heartbeat_interval_ms),
            ("handout_ttl_ms", self.handout_ttl_ms),
        ] {
            rules.require((50..=LEASE_MS_MAX).contains(&value), key, "it must be 50 to 3,600,000");
        }
        rules.require(
            self.ttl_ms > self.heartbeat_interval_ms.saturating_mul(2),
            "ttl_ms",
            format!(
                "{} is not more than twice heartbeat_interval_ms ({}): one lost heartbeat would \
                 cost the lease",
                self.ttl_ms, self.heartbeat_interval_ms
            ),
        );
    }
}

impl Validate for LimitsConfig {
    fn validate(&self, rules: &mut Rules) {
        let message = (1 << 20..=256 << 20).contains(&self.message_bytes_max);
        rules.require(message, "message_bytes_max", "it must be 1 MiB to 256 MiB");
        let batch = (1..=10_000).contains(&self.batch_rows_max);
        rules.require(batch, "batch_rows_max", "it must be 1 to 10,000");
        let queue = (1_000..=10_000_000).contains(&self.queue_rows_max);
        rules.require(queue, "queue_rows_max", "it must be 1,000 to 10,000,000");
        let bytes = (1 << 20..=16 << 30).contains(&self.queue_bytes_max);
        rules.require(bytes, "queue_bytes_max", "it must be 1 MiB to 16 GiB");
        let lag = (16..=1_000_000).contains(&self.watch_lag_max);
        rules.require(lag, "watch_lag_max", "it must be 16 to 1,000,000");
        let operations = (1..=10_000).contains(&self.operations_per_user_max);
        rules.require(operations, "operations_per_user_max", "it must be 1 to 10,000");
    }
}

impl BrokerConfig {
    /// How the store is to be opened.
    pub fn store_options(&self) -> StoreOptions {
        let lock = match self.dispatch.lock {
            LockChoice::Memory => LockKind::Memory,
            LockChoice::Database => LockKind::Database,
            LockChoice::Redis => LockKind::Redis,
        };
        StoreOptions {
            max_connections: self.database.max_connections,
            call_timeout: millis(self.database.call_timeout_ms),
            lock,
            redis_url: Some(self.redis.url.clone()).filter(|url| !url.is_empty()),
            redis_prefix: self.redis.prefix.clone(),
            ..StoreOptions::new(&self.database.url)
        }
    }

    /// How often workers renew their leases.
    pub fn heartbeat_interval(&self) -> Duration {
        millis(self.lease.heartbeat_interval_ms)
    }

    /// How long calls in hand may take to end.
    pub fn drain_time(&self) -> Duration {
        millis(self.drain_time_ms)
    }
}

/// A checked number of milliseconds.
pub fn millis(value_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(value_ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn sources(settings: &[(&str, &str)]) -> Sources {
        let settings = settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        Args { config: None, settings: settings.collect() }.sources().env([])
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = load(&sources(&[])).unwrap();
        assert_eq!(config.listen.address.port(), 7070);
        assert_eq!(config.store_options().redis_url, None);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let wrong = [
            ("lease.ttl_ms", "20000"),
            ("database.url", "oracle://x"),
            ("dispatch.lock", "redis"),
            ("limits.colour", "blue"),
            ("listen.address", "0.0.0.0:7070"),
        ];
        let errors = load(&sources(&wrong)).unwrap_err();
        let keys: Vec<_> = errors.violations().iter().map(|error| error.key.as_str()).collect();
        let expected =
            ["database.url", "lease.ttl_ms", "limits.colour", "listen.address", "redis.url"];
        assert_eq!(keys, expected);
    }
}

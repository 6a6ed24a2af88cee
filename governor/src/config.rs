//! The governor's settings: `config.default.toml` → file → environment → flags.

use asyncflow_archive::{Archive, Options};
use asyncflow_service::config::{
    ConfigErrors, ListenConfig, LogConfig, MetricsConfig, Rules, Sources, Validate, load,
};
use asyncflow_store::{LockKind, StoreOptions};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The commented defaults, which are also a sample file.
pub const DEFAULT_CONFIG: &str = include_str!("../config.default.toml");
/// Environment variables of settings begin with this and two underscores.
pub const ENV_PREFIX: &str = "ASYNCFLOW_GOVERNOR";

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GovernorConfig {
    /// How long calls in hand may take after SIGTERM.
    pub drain_time_ms: u64,
    pub listen: ListenConfig,
    pub log: LogConfig,
    pub metrics: MetricsConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub leader: LeaderConfig,
    pub lease: LeaseConfig,
    pub duties: DutiesConfig,
    pub retention: RetentionConfig,
    pub archive: ArchiveConfig,
}

/// `[database]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseConfig {
    /// The address, with its password.
    pub url: String,
    /// Most connections.
    pub max_connections: u32,
}

/// `[redis]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedisConfig {
    /// The address; empty: without Redis.
    pub url: String,
    /// Prefix of all keys and channels.
    pub prefix: String,
}

/// `[leader]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaderConfig {
    /// How long a lead lasts that is not renewed.
    pub ttl_ms: u64,
}

/// `[lease]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseConfig {
    /// The workers' heartbeat interval.
    pub heartbeat_interval_ms: u64,
}

/// `[duties]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DutiesConfig {
    pub reap_interval_ms: u64,
    pub promote_interval_ms: u64,
    pub retention_interval_ms: u64,
    pub roll_interval_ms: u64,
    pub drain_interval_ms: u64,
    pub drop_interval_ms: u64,
    pub reconcile_interval_ms: u64,
    pub workflows_interval_ms: u64,
    pub schedules_interval_ms: u64,
    pub speculate_interval_ms: u64,
    /// How long comparing the counts of one shard may take.
    pub reconcile_snapshot_max_ms: u64,
    /// Most rows that one transaction changes.
    pub batch_rows_max: u32,
    /// How long a task has to be due before its broker is taken for dead.
    pub promote_after_ms: u64,
}

/// `[retention]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetentionConfig {
    pub request_ids_ms: u64,
    pub acquires_ms: u64,
    pub changes_ms: u64,
    pub workers_ms: u64,
    pub host_orders_ms: u64,
    pub logs_ms: u64,
    pub workflows_ms: u64,
    pub operations_ms: u64,
    pub schedule_fires_ms: u64,
}

/// `[archive]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ArchiveConfig {
    /// `file:///directory` or `s3://bucket/prefix`; empty: nothing is archived.
    pub url: String,
    /// Of an S3-compatible store; empty: AWS.
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Allow an endpoint without TLS.
    pub allow_http: bool,
}

impl GovernorConfig {
    /// Loads and validates the settings.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        load(sources)
    }

    /// How the store is opened.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        let redis = &self.redis;
        StoreOptions {
            max_connections: self.database.max_connections,
            lock: LockKind::Memory,
            redis_url: (!redis.url.is_empty()).then(|| redis.url.clone()),
            redis_prefix: redis.prefix.clone(),
            ..StoreOptions::new(self.database.url.clone())
        }
    }

    pub(crate) fn leader_ttl(&self) -> Duration {
        Duration::from_millis(self.leader.ttl_ms)
    }

    pub(crate) fn drain_time(&self) -> Duration {
        Duration::from_millis(self.drain_time_ms)
    }
}

impl Validate for GovernorConfig {
    fn validate(&self, rules: &mut Rules) {
        rules.section("listen", &self.listen);
        rules.section("log", &self.log);
        rules.section("metrics", &self.metrics);
        rules.section("database", &self.database);
        rules.section("redis", &self.redis);
        rules.section("duties", &self.duties);
        rules.section("retention", &self.retention);
        rules.section("archive", &self.archive);
        let spans = [
            ("leader.ttl_ms", self.leader.ttl_ms, 100, HOUR_MS),
            ("lease.heartbeat_interval_ms", self.lease.heartbeat_interval_ms, 10, HOUR_MS),
            ("drain_time_ms", self.drain_time_ms, 0, HOUR_MS),
        ];
        require_spans(rules, &spans);
    }
}

impl Validate for DatabaseConfig {
    fn validate(&self, rules: &mut Rules) {
        let scheme = self.url.split(':').next().unwrap_or_default();
        let known = ["sqlite", "mysql", "mariadb", "postgres", "postgresql"].contains(&scheme);
        rules.require(known, "url", "it must begin with sqlite:, mysql:, mariadb: or postgres:");
        let fits = (1..=10_000).contains(&self.max_connections);
        rules.require(fits, "max_connections", "it must be 1 to 10,000");
    }
}

impl Validate for RedisConfig {
    fn validate(&self, rules: &mut Rules) {
        let known = self.url.is_empty()
            || ["redis://", "rediss://"].iter().any(|scheme| self.url.starts_with(scheme));
        rules.require(known, "url", "it must be empty or begin with redis:// or rediss://");
        rules.require(!self.prefix.is_empty(), "prefix", "it must not be empty");
    }
}

impl Validate for DutiesConfig {
    fn validate(&self, rules: &mut Rules) {
        let spans = [
            ("reap_interval_ms", self.reap_interval_ms, 10, HOUR_MS),
            ("promote_interval_ms", self.promote_interval_ms, 10, HOUR_MS),
            ("retention_interval_ms", self.retention_interval_ms, 10, 24 * HOUR_MS),
            ("roll_interval_ms", self.roll_interval_ms, 10, HOUR_MS),
            ("drain_interval_ms", self.drain_interval_ms, 10, HOUR_MS),
            ("drop_interval_ms", self.drop_interval_ms, 10, 24 * HOUR_MS),
            ("reconcile_interval_ms", self.reconcile_interval_ms, 10, 24 * HOUR_MS),
            ("workflows_interval_ms", self.workflows_interval_ms, 10, HOUR_MS),
            ("schedules_interval_ms", self.schedules_interval_ms, 10, HOUR_MS),
            ("speculate_interval_ms", self.speculate_interval_ms, 10, HOUR_MS),
            ("reconcile_snapshot_max_ms", self.reconcile_snapshot_max_ms, 0, HOUR_MS),
            ("promote_after_ms", self.promote_after_ms, 0, HOUR_MS),
        ];
        require_spans(rules, &spans);
        let fits = (1..=10_000).contains(&self.batch_rows_max);
        rules.require(fits, "batch_rows_max", "it must be 1 to 10,000");
    }
}

impl Validate for RetentionConfig {
    fn validate(&self, rules: &mut Rules) {
        let spans = [
            ("request_ids_ms", self.request_ids_ms, 0, 10 * YEAR_MS),
            ("acquires_ms", self.acquires_ms, 0, YEAR_MS),
            ("changes_ms", self.changes_ms, 0, YEAR_MS),
            ("workers_ms", self.workers_ms, 0, 10 * YEAR_MS),
            ("host_orders_ms", self.host_orders_ms, 0, 10 * YEAR_MS),
            ("logs_ms", self.logs_ms, 0, 10 * YEAR_MS),
            ("workflows_ms", self.workflows_ms, 0, 10 * YEAR_MS),
            ("operations_ms", self.operations_ms, 0, 10 * YEAR_MS),
            ("schedule_fires_ms", self.schedule_fires_ms, 0, 10 * YEAR_MS),
        ];
        require_spans(rules, &spans);
    }
}

impl ArchiveConfig {
    pub(crate) fn options(&self) -> Options {
        Options {
            url: self.url.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            allow_http: self.allow_http,
        }
    }
}

impl Validate for ArchiveConfig {
    fn validate(&self, rules: &mut Rules) {
        if self.url.is_empty() {
            return;
        }
        if let Err(error) = Archive::check(&self.options()) {
            rules.refuse("url", error.to_string());
        }
        let paired = self.access_key_id.is_empty() == self.secret_access_key.is_empty();
        let rule = "access_key_id and secret_access_key must be set together";
        rules.require(paired, "access_key_id", rule);
        let plain = self.endpoint.starts_with("http://");
        let rule = "http:// sends the tasks in the clear; set allow_http = true if that is meant";
        rules.require(!plain || self.allow_http, "endpoint", rule);
    }
}

fn require_spans(rules: &mut Rules, spans: &[(&str, u64, u64, u64)]) {
    for &(key, value, least, most) in spans {
        let fits = (least..=most).contains(&value);
        rules.require(fits, key, format!("{value} ms is out of range; {least} to {most} ms"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn sources() -> Sources {
        Sources::new(DEFAULT_CONFIG, ENV_PREFIX).env([])
    }

    #[test]
    fn the_defaults_are_valid_and_every_layer_reaches_the_struct() {
        let config = GovernorConfig::load(&sources()).unwrap();
        assert_eq!(config.listen.address.port(), 7080);
        assert_eq!(config.store_options().redis_url, None);
        let env = [("ASYNCFLOW_GOVERNOR__LEADER__TTL_MS".to_owned(), "500".to_owned())];
        let layered = sources().env(env).flag("redis.url", "redis://r:1");
        let config = GovernorConfig::load(&layered).unwrap();
        assert_eq!(config.leader.ttl_ms, 500);
        assert_eq!(config.store_options().redis_url.as_deref(), Some("redis://r:1"));
    }

    #[test]
    fn all_errors_come_at_once_with_their_keys() {
        let wrong = sources()
            .flag("database.url", "oracle://scott:tiger@db")
            .flag("leader.ttl_ms", "5")
            .flag("duties.reap_interval_ms", "0")
            .flag("listen.address", "0.0.0.0:7080")
            .flag("archive.url", "/var/lib/archive")
            .flag("archive.endpoint", "http://minio:9000")
            .flag("archive.access_key_id", "key")
            .flag("retention.unknown_ms", "5");
        let text = GovernorConfig::load(&wrong).unwrap_err().to_string();
        for key in [
            "database.url",
            "leader.ttl_ms",
            "duties.reap_interval_ms",
            "listen.address",
            "retention.unknown_ms",
            "archive.url",
            "archive.endpoint",
            "archive.access_key_id",
        ] {
            assert!(text.contains(key), "{key} is missing in {text}");
        }
        assert!(!text.contains("tiger"), "{text}");
    }
}

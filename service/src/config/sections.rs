//! The sections that several programs share. Their commented defaults stand in `sections.toml`,
//! from which every program's own default file is made.

use super::rules::{Rules, Validate};
use crate::{auth::Authenticator, server::tls};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{net::SocketAddr, path::PathBuf};
use tracing_subscriber::EnvFilter;

/// `[listen]`: the gRPC server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenConfig {
    /// IP address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Serve gRPC reflection (v1 and v1alpha).
    #[serde(default)]
    pub reflection: bool,
    /// Most concurrent calls of one connection.
    #[serde(default = "connection_calls_max")]
    pub connection_calls_max: u32,
    /// Most ordinary calls at once; above it they wait a second at most.
    #[serde(default = "calls_max")]
    pub calls_max: usize,
    /// Most calls that wait for one of these places; above it they get RESOURCE_EXHAUSTED.
    #[serde(default = "waiting_calls_max")]
    pub waiting_calls_max: usize,
    /// Places on top that only heartbeats and completions take.
    #[serde(default = "vital_calls_reserve")]
    pub vital_calls_reserve: usize,
    /// Most long polls and streams at once.
    #[serde(default = "parked_calls_max")]
    pub parked_calls_max: usize,
    /// Pages that may call from a browser, by origin (`https://example.org`).
    #[serde(default)]
    pub cors_origins: Vec<String>,
    /// `[listen.tls]`.
    #[serde(default)]
    pub tls: TlsConfig,
    /// `[listen.auth]`.
    #[serde(default)]
    pub auth: AuthConfig,
}

fn connection_calls_max() -> u32 {
    1_000
}

fn calls_max() -> usize {
    2_000
}

fn waiting_calls_max() -> usize {
    10_000
}

fn vital_calls_reserve() -> usize {
    500
}

fn parked_calls_max() -> usize {
    20_000
}

impl Validate for ListenConfig {
    fn validate(&self, rules: &mut Rules) {
        let counts = [
            ("connection_calls_max", self.connection_calls_max as usize),
            ("calls_max", self.calls_max),
            ("waiting_calls_max", self.waiting_calls_max),
            ("vital_calls_reserve", self.vital_calls_reserve),
            ("parked_calls_max", self.parked_calls_max),
        ];
        for (key, count) in counts {
            rules.require((1..=1_000_000).contains(&count), key, "it must be 1 to 1,000,000");
        }
        for origin in &self.cors_origins {
            let message = format!(
                "{origin:?} is no origin: write https://host or http://host:port, without a path"
            );
            rules.require(is_origin(origin), "cors_origins", message);
        }
        let guarded = self.tls.cert_file.is_some() && self.auth.tokens_file.is_some();
        rules.require(
            self.address.ip().is_loopback() || guarded,
            "address",
            format!(
                "{} can be reached from other hosts: set listen.tls.cert_file, \
                 listen.tls.key_file and listen.auth.tokens_file, or listen on 127.0.0.1",
                self.address
            ),
        );
        rules.section("tls", &self.tls);
        rules.section("auth", &self.auth);
    }
}

/// As a browser sends it: a scheme and an authority, in small letters, and nothing behind.
fn is_origin(text: &str) -> bool {
    let authority = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    authority.is_some_and(|authority| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
        !authority.is_empty() && authority.chars().all(fits)
    })
}

/// `[listen.tls]`: PEM files; an empty text means unset.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsConfig {
    /// Certificate chain of the server.
    #[serde(with = "empty_as_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(with = "empty_as_none")]
    pub key_file: Option<PathBuf>,
    /// Clients must show a certificate signed by this authority.
    #[serde(with = "empty_as_none")]
    pub client_ca_file: Option<PathBuf>,
}

impl Validate for TlsConfig {
    fn validate(&self, rules: &mut Rules) {
        let key = if self.cert_file.is_some() { "key_file" } else { "cert_file" };
        let both = self.cert_file.is_some() == self.key_file.is_some();
        rules.require(both, key, "cert_file and key_file must be set together");
        let alone = self.client_ca_file.is_some() && self.cert_file.is_none();
        rules.require(!alone, "client_ca_file", "it needs cert_file and key_file");
        if let Err((key, error)) = tls::server_config(self) {
            rules.refuse(key, error);
        }
    }
}

/// `[listen.auth]`: who may call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Lines `name:kind:token`, mode 0600 or stricter; empty: everybody (loopback only).
    #[serde(with = "empty_as_none")]
    pub tokens_file: Option<PathBuf>,
}

impl Validate for AuthConfig {
    fn validate(&self, rules: &mut Rules) {
        if let Some(Err(error)) = self.tokens_file.as_deref().map(Authenticator::from_file) {
            rules.refuse("tokens_file", error.to_string());
        }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Directives of tracing, e.g. `info,asyncflow_broker=debug`.
    pub filter: String,
}

impl Validate for LogConfig {
    fn validate(&self, rules: &mut Rules) {
        if let Err(error) = EnvFilter::try_new(&self.filter) {
            rules.refuse("filter", error.to_string());
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it must be \"text\" or \"json\""),
        }
    }
}

/// `[metrics]`: `/metrics`, `/healthz` and `/readyz` over plain HTTP, read only.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricsConfig {
    /// IP address and port; empty: off.
    #[serde(with = "empty_as_none")]
    pub address: Option<SocketAddr>,
    /// Allow an address that other hosts can reach. There is no TLS and no token here.
    pub expose: bool,
}

impl Validate for MetricsConfig {
    fn validate(&self, rules: &mut Rules) {
        let Some(address) = self.address else { return };
        rules.require(
            address.ip().is_loopback() || self.expose,
            "address",
            format!(
                "{address} can be reached from other hosts: \
                 set metrics.expose = true if that is meant"
            ),
        );
    }
}

/// An empty text means unset, so that every key can stand in a default file.
mod empty_as_none {
    use super::{Deserialize, Deserializer, Serializer};
    use std::{fmt, str::FromStr};

    pub(super) fn serialize<S: Serializer, T: serde::Serialize>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: fmt::Display>,
    {
        let text = String::deserialize(deserializer)?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

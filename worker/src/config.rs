//! The worker's settings. `config.default.toml` has them all with their meaning.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use asyncflow_sdk::{ChannelOptions, worker::EVERY_TYPE};
use asyncflow_service::{
    config::{self, ConfigErrors, LogConfig, MetricsConfig, Rules, Sources, Validate},
    secret_file,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::{gpu::GpuConfig, python::PythonConfig};

/// The commented defaults, for `asyncflow config`.
pub const DEFAULTS: &str = include_str!("../config.default.toml");
/// The prefix of environment variables: `ASYNCFLOW_WORKER__SLOTS`.
pub const ENV_PREFIX: &str = "ASYNCFLOW_WORKER";

/// By which all clients know their broker; a worker goes by it unless it is told otherwise.
const CLIENT_VARIABLE: &str = "ASYNCFLOW_BROKER";
const LABELS_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 255;
const SLOTS_MAX: usize = 10_000;
/// This program, also when its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// What the worker is told on its command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// A TOML file over the built-in defaults.
    #[arg(long, value_name = "FILE", env = "ASYNCFLOW_WORKER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Sets one key over everything else, e.g. --set slots=4.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Runs the Python tasks (@task) of a module, e.g. lab.train, or of a file; may be repeated.
    #[arg(long = "python", value_name = "MODULE")]
    pub python: Vec<String>,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Args {
    /// The layers of the configuration.
    pub fn sources(&self) -> Sources {
        let sources = Sources::new(DEFAULTS, ENV_PREFIX).file(self.config.clone());
        let sources = match std::env::var(CLIENT_VARIABLE) {
            Ok(address) if !address.is_empty() => {
                let origin = format!("environment variable {CLIENT_VARIABLE}");
                sources.hint("broker.addresses", &origin, format!("[{address:?}]"))
            }
            _ => sources,
        };
        let sources = self.add_to(sources);
        self.settings.iter().fold(sources, |sources, (key, value)| sources.flag(key, value))
    }

    /// The layers with the flags that are short for settings.
    #[must_use]
    pub fn add_to(&self, sources: Sources) -> Sources {
        match self.python.is_empty() {
            true => sources,
            false => sources.flag("python.modules", format!("{:?}", self.python)),
        }
    }
}

/// Loads and validates.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(sources: &Sources) -> Result<WorkerConfig, ConfigErrors> {
    config::load(sources)
}

/// All settings, validated by [`load`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// Empty: made at the first start and kept in `data_dir`.
    pub worker_id: String,
    /// Empty: the machine's name.
    pub host: String,
    /// Journal, logs and directories of tasks.
    pub data_dir: PathBuf,
    /// `*` = all that it can run: commands, whatever their type.
    pub task_types: Vec<String>,
    /// 0 = number of cores.
    pub slots: usize,
    /// Cores that tasks are given; 0 = all.
    pub cpus: f64,
    /// Main memory that tasks are given; 0 = all.
    pub memory_bytes: u64,
    /// How long tasks may go on after SIGTERM.
    pub drain_time_ms: u64,
    /// From SIGTERM to SIGKILL of a task.
    pub stop_grace_ms: u64,
    /// Shown with the worker.
    pub labels: BTreeMap<String, String>,
    /// `[broker]`.
    pub broker: BrokerConfig,
    /// `[command]`.
    pub command: CommandConfig,
    /// `[python]`.
    pub python: PythonConfig,
    /// `[gpu]`.
    pub gpu: GpuConfig,
    /// `[keep]`.
    pub keep: KeepConfig,
    /// `[log]`.
    pub log: LogConfig,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
}

/// `[broker]`: how brokers are reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BrokerConfig {
    /// `http://…` or `https://…`.
    pub addresses: Vec<String>,
    /// Empty: none.
    pub token_file: PathBuf,
    /// Empty: none.
    pub ca_file: PathBuf,
}

/// `[command]`: how commands are executed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandConfig {
    /// Variables of the worker that tasks see.
    pub environment_allowed: Vec<String>,
    /// Unsent log of one stream that is still sent.
    pub log_backlog_max_bytes: u64,
    /// What of one stream is kept on disk.
    pub log_bytes_max: u64,
    /// Asks a program to stop, e.g. `SIGTERM`.
    pub stop_signal: String,
    /// Use control groups where there are any.
    pub cgroups: bool,
    /// Give a task no more memory and cores than it asked for.
    pub limit_resources: bool,
    /// What a program says when a GPU has no memory for it.
    pub gpu_out_of_memory: Vec<String>,
    /// Where condas are installed.
    pub conda_roots: Vec<PathBuf>,
    /// `auto`, `docker`, `podman`, or the path of one.
    pub container_engine: String,
    /// The program that becomes the shim of an attempt. Empty: this one.
    pub shim: PathBuf,
}

impl CommandConfig {
    /// The program that becomes a shim.
    pub fn shim_program(&self) -> PathBuf {
        given(&self.shim).map_or_else(|| PathBuf::from(OWN_PROGRAM), Path::to_owned)
    }
}

/// `[keep]`: what is kept of ended attempts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeepConfig {
    /// Oldest directory.
    pub attempt_age_max_ms: u64,
    /// All directories together.
    pub attempts_max_bytes: u64,
}

impl WorkerConfig {
    /// The built-in defaults, for programs that embed a worker.
    ///
    /// # Errors
    /// Never, unless the built-in file is broken; a test keeps it whole.
    pub fn defaults() -> Result<Self, ConfigErrors> {
        load(&Sources::new(DEFAULTS, ENV_PREFIX).env([]))
    }

    /// Slots in force.
    pub fn slots(&self) -> usize {
        match self.slots {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            slots => slots,
        }
    }

    /// From SIGTERM to SIGKILL of a task.
    pub fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace_ms)
    }

    /// The channels to the brokers.
    ///
    /// # Errors
    /// The token file cannot be read any more.
    pub fn channels(&self) -> Result<Vec<ChannelOptions>, secret_file::SecretFileError> {
        let token = given(&self.broker.token_file).map(secret_file::read).transpose()?;
        let channel = |address: &String| ChannelOptions {
            token: token.as_deref().map(|token| token.trim().to_owned()),
            ca_file: given(&self.broker.ca_file).map(Path::to_owned),
            ..ChannelOptions::new(address.as_str())
        };
        Ok(self.broker.addresses.iter().map(channel).collect())
    }
}

/// An empty path means unset, so that every key can stand in the default file.
fn given(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

impl Validate for WorkerConfig {
    fn validate(&self, rules: &mut Rules) {
        let id_is_plain = |id: &str| {
            id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        rules.require(
            id_is_plain(&self.worker_id),
            "worker_id",
            "it must be at most 64 characters of [A-Za-z0-9._-]",
        );
        let host_is_plain =
            self.host.len() <= HOST_BYTES_MAX && self.host.bytes().all(|b| b.is_ascii_graphic());
        let rule = "it must be at most 255 characters of ASCII without spaces";
        rules.require(host_is_plain, "host", rule);
        rules.require(given(&self.data_dir).is_some(), "data_dir", "it must not be empty");
        let is_type = |name: &String| {
            name == EVERY_TYPE
                || name.len() <= 40
                    && name.starts_with(|first: char| first.is_ascii_lowercase())
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        rules.require(
            (1..=1_000).contains(&self.task_types.len()) && self.task_types.iter().all(is_type),
            "task_types",
            "it must be 1 to 1,000 of \"*\" or [a-z][a-z0-9_]{0,39}",
        );
        rules.require(self.slots <= SLOTS_MAX, "slots", "it must be at most 10,000");
        rules.require(self.drain_time_ms <= DAY_MS, "drain_time_ms", "it must be at most a day");
        rules.require(self.stop_grace_ms <= DAY_MS, "stop_grace_ms", "it must be at most a day");
        rules.require(self.labels.len() <= LABELS_MAX, "labels", "they must be at most 32");
        rules.section("broker", &self.broker);
        rules.require((0.0..=10_000.0).contains(&self.cpus), "cpus", "it must be 0 to 10,000");
        rules.section("command", &self.command);
        rules.section("python", &self.python);
        rules.section("gpu", &self.gpu);
        rules.section("log", &self.log);
        rules.section("metrics", &self.metrics);
    }
}

impl Validate for BrokerConfig {
    fn validate(&self, rules: &mut Rules) {
        let is_address =
            |text: &String| text.starts_with("http://") || text.starts_with("https://");
        rules.require(
            !self.addresses.is_empty() && self.addresses.iter().all(is_address),
            "addresses",
            "it must be one or more of http://host:port or https://host:port",
        );
        if let Some(Err(error)) = given(&self.token_file).map(secret_file::read) {
            rules.refuse("token_file", error.to_string());
        }
        let needs_ca = self.addresses.iter().any(|text| text.starts_with("https://"));
        let ca_file = given(&self.ca_file);
        rules.require(!needs_ca || ca_file.is_some(), "ca_file", "https needs it");
        if let Some(Err(error)) = ca_file.map(std::fs::read) {
            rules.refuse("ca_file", format!("cannot be read: {error}"));
        }
    }
}

impl Validate for CommandConfig {
    fn validate(&self, rules: &mut Rules) {
        rules.require(
            self.environment_allowed.iter().all(|name| !name.is_empty() && !name.contains('=')),
            "environment_allowed",
            "names must not be empty and have no \"=\"",
        );
        rules.require(
            (64 * 1_024..=1 << 30).contains(&self.log_backlog_max_bytes),
            "log_backlog_max_bytes",
            "it must be 64 KiB to 1 GiB",
        );
        rules.require(
            (1 << 20..=1 << 40).contains(&self.log_bytes_max),
            "log_bytes_max",
            "it must be 1 MiB to 1 TiB",
        );
        rules.require(
            self.stop_signal.parse::<Signal>().is_ok(),
            "stop_signal",
            "it must be the name of a signal, e.g. SIGTERM or SIGUSR1",
        );
        rules.require(
            self.gpu_out_of_memory.iter().all(|text| !text.trim().is_empty()),
            "gpu_out_of_memory",
            "texts must not be empty",
        );
        rules.require(
            self.conda_roots.iter().all(|root| root.is_absolute()),
            "conda_roots",
            "they must be absolute paths",
        );
        let engine = self.container_engine.as_str();
        rules.require(
            ["auto", "docker", "podman"].contains(&engine) || engine.starts_with('/'),
            "container_engine",
            "it must be auto, docker, podman, or the absolute path of one",
        );
        if let Some(Err(error)) = given(&self.shim).map(std::fs::metadata) {
            rules.refuse("shim", format!("cannot be read: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{DEFAULTS, ENV_PREFIX, Sources, WorkerConfig, load};

    #[test]
    fn the_defaults_are_valid() {
        let config = WorkerConfig::defaults().unwrap();
        assert_eq!(config.task_types, ["*"]);
        assert!(config.slots() >= 1);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let sources = Sources::new(DEFAULTS, ENV_PREFIX)
            .env([])
            .flag("worker_id", "a b")
            .flag("slots", "99999")
            .flag("task_types", "[\"Train!\"]")
            .flag("broker.addresses", "[\"localhost:7070\"]")
            .flag("broker.token_file", "/nonexistent")
            .flag("cpus", "-1.0")
            .flag("python.modules", "[\"-c\"]")
            .flag("gpu.provider", "fake")
            .flag("gpu.application_xids", "[13, 79]")
            .flag("no_such_key", "1");
        let errors = load(&sources).unwrap_err();
        let keys: Vec<_> = errors.violations().iter().map(|v| v.key.as_str()).collect();
        for key in [
            "worker_id",
            "slots",
            "task_types",
            "broker.addresses",
            "broker.token_file",
            "cpus",
            "python.modules",
            "gpu.fake_file",
            "gpu.application_xids",
            "no_such_key",
        ] {
            assert!(keys.contains(&key), "{key} is missing in {keys:?}");
        }
    }
}

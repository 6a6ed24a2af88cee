//! The settings of the three programs as `asyncflow dev` wants them.
//!
//! ```text
//!  program's defaults → ASYNCFLOW_<PROGRAM>__… → what suits dev → --set → what dev must have
//! ```

use super::{Args, data_dir::DataDir};
use asyncflow_broker::BrokerConfig;
use asyncflow_governor::GovernorConfig;
use asyncflow_service::config::{ConfigErrors, Sources};
use asyncflow_worker::WorkerConfig;
use std::{env, fmt, net::SocketAddr};

/// How far the ports lie apart when only the broker's is given.
const HTTP_PORT_OFFSET: u16 = 1;
const GOVERNOR_PORT_OFFSET: u16 = 10;

/// A person who stops it does not want to wait for tasks: they go on at the next start.
const DRAIN_TIME_MS: &str = "1000";
const LOG_FILTER: &str = "warn";

/// `--set broker.lease.ttl_ms=5000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    program: Program,
    key: String,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Broker,
    Governor,
    Worker,
}

/// Settings and addresses of the whole.
#[derive(Debug)]
pub struct Settings {
    pub broker: BrokerConfig,
    pub governor: GovernorConfig,
    pub worker: WorkerConfig,
    pub http: SocketAddr,
}

/// Reads one `--set`.
pub fn parse(text: &str) -> Result<Setting, String> {
    let usage = "write it as PROGRAM.KEY=VALUE with broker, governor or worker as the program";
    let (path, value) = text.split_once('=').ok_or(usage)?;
    let (program, key) = path.trim().split_once('.').ok_or(usage)?;
    let program = match program {
        "broker" => Program::Broker,
        "governor" => Program::Governor,
        "worker" => Program::Worker,
        _ => return Err(usage.to_owned()),
    };
    Ok(Setting { program, key: key.to_owned(), value: value.to_owned() })
}

/// All that is wrong, with the program whose settings they are.
#[derive(Debug, Default)]
pub struct SettingsErrors(Vec<(&'static str, ConfigErrors)>);

impl SettingsErrors {
    /// The settings that are well; what is wrong with the others is kept.
    fn keep<C>(&mut self, program: &'static str, loaded: Loaded<C>) -> Option<C> {
        loaded.map_err(|errors| self.0.push((program, errors))).ok()
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(number, (program, errors))| {
            let between = if number == 0 { "" } else { "\n" };
            write!(f, "{between}{program}: {errors}")
        })
    }
}

impl std::error::Error for SettingsErrors {}

impl Settings {
    /// Loads and checks all three.
    pub fn load(args: &Args, data_dir: &DataDir) -> Result<Self, SettingsErrors> {
        let mut errors = SettingsErrors::default();
        let broker = errors.keep("broker", broker(args, data_dir));
        let governor = errors.keep("governor", governor(args, data_dir, broker.as_ref()));
        let worker = errors.keep("worker", worker(args, data_dir));
        let http = args.http_listen.unwrap_or_else(|| beside(args.listen, HTTP_PORT_OFFSET));
        match (broker, governor, worker) {
            (Some(broker), Some(governor), Some(worker)) => {
                Ok(Self { broker, governor, worker, http })
            }
            _ => Err(errors),
        }
    }
}

type Loaded<C> = Result<C, ConfigErrors>;

fn broker(args: &Args, data_dir: &DataDir) -> Loaded<BrokerConfig> {
    let sources =
        Sources::new(asyncflow_broker::config::DEFAULTS, asyncflow_broker::config::ENV_PREFIX)
            .flag("auto_create_task_types", "true")
            .flag("listen.reflection", "true");
    let sources = log_filter(sources, asyncflow_broker::config::ENV_PREFIX);
    let sources = with_flags(sources, args, Program::Broker)
        .flag("database.url", data_dir.database_url())
        .flag("listen.address", args.listen.to_string())
        .flag("metrics.address", "");
    asyncflow_broker::config::load(&sources)
}

/// Its worker beats as the broker says, so the governor has to look as often.
fn governor(
    args: &Args,
    data_dir: &DataDir,
    broker: Option<&BrokerConfig>,
) -> Loaded<GovernorConfig> {
    let address = args.governor_listen.unwrap_or_else(|| beside(args.listen, GOVERNOR_PORT_OFFSET));
    let sources = Sources::new(asyncflow_governor::DEFAULT_CONFIG, asyncflow_governor::ENV_PREFIX)
        .flag("listen.reflection", "true");
    let sources = broker.into_iter().fold(sources, |sources, broker| {
        let heartbeat_ms = broker.lease.heartbeat_interval_ms.to_string();
        sources.flag("lease.heartbeat_interval_ms", heartbeat_ms)
    });
    let sources = with_flags(sources, args, Program::Governor)
        .flag("database.url", data_dir.database_url())
        .flag("listen.address", address.to_string())
        .flag("metrics.address", "");
    GovernorConfig::load(&sources)
}

/// The broker's address is put in when it is known, see [`super::stack`].
fn worker(args: &Args, data_dir: &DataDir) -> Loaded<WorkerConfig> {
    let sources =
        Sources::new(asyncflow_worker::config::DEFAULTS, asyncflow_worker::config::ENV_PREFIX)
            .flag("drain_time_ms", DRAIN_TIME_MS);
    let python = asyncflow_worker::Args { python: args.python.clone(), ..Default::default() };
    let sources = with_flags(python.add_to(sources), args, Program::Worker)
        .flag("data_dir", data_dir.worker_dir().display().to_string())
        .flag("metrics.address", "");
    asyncflow_worker::config::load(&sources)
}

fn with_flags(sources: Sources, args: &Args, program: Program) -> Sources {
    let settings = args.settings.iter().filter(|setting| setting.program == program);
    settings.fold(sources, |sources, setting| sources.flag(&setting.key, &setting.value))
}

/// Three programs in one terminal would talk too much at `info`.
fn log_filter(sources: Sources, env_prefix: &str) -> Sources {
    if env::var_os(format!("{env_prefix}__LOG__FILTER")).is_some() {
        return sources;
    }
    sources.flag("log.filter", LOG_FILTER)
}

fn beside(address: SocketAddr, offset: u16) -> SocketAddr {
    let port = match address.port() {
        0 => 0,
        port => port.checked_add(offset).unwrap_or(0),
    };
    SocketAddr::new(address.ip(), port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn settings_name_their_program() {
        let setting = parse("broker.lease.ttl_ms=5000").unwrap();
        assert_eq!((setting.program, setting.key.as_str()), (Program::Broker, "lease.ttl_ms"));
        assert_eq!(parse("worker.labels.gpu=a=b").unwrap().value, "a=b");
        for wrong in ["lease.ttl_ms=5", "broker.x", "broker=1", ""] {
            assert!(parse(wrong).unwrap_err().contains("PROGRAM.KEY=VALUE"), "{wrong}");
        }
    }

    #[test]
    fn free_ports_stay_free_ports_and_others_lie_beside() {
        let beside = |text: &str| beside(text.parse().unwrap(), 10).to_string();
        assert_eq!(beside("127.0.0.1:0"), "127.0.0.1:0");
        assert_eq!(beside("127.0.0.1:7070"), "127.0.0.1:7080");
        assert_eq!(beside("127.0.0.1:65530"), "127.0.0.1:0");
    }
}

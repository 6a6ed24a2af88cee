//! What is put under load: somebody's brokers, or some that are started for it on a database with
//! full durability.

use super::usage::Usage;
use crate::{
    DatabaseKind,
    brokers::{Brokers, in_time},
    error::BenchError,
    process,
    target::{Plan, Target},
};
use asyncflow_proto::v1::{CreateTaskTypeRequest, TaskType};
use asyncflow_sdk::ChannelOptions;
use asyncflow_store::{Backend, Store, StoreOptions, testing::server_work};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use tonic::Code;

/// What a type takes without being told.
const CONTEXT_BYTES_MAX: usize = 8_192;

/// Flags that say what is put under load.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Target")]
pub struct DeploymentArgs {
    /// Address of a broker that runs, again for each; else database and brokers are started
    #[arg(long, value_name = "URL", conflicts_with_all = ["database", "brokers", "redis"])]
    broker: Vec<String>,
    /// Token for the brokers; it must be one that may create tasks and work on them (admin)
    #[arg(long, env = "ASYNCFLOW_TOKEN", hide_env_values = true, requires = "broker")]
    #[serde(skip)]
    token: Option<String>,
    /// PEM file of the authority that signed the brokers' certificate (for https)
    #[arg(long, env = "ASYNCFLOW_CA_FILE", value_name = "FILE")]
    #[serde(skip)]
    ca_file: Option<PathBuf>,
    /// Their database, for what it counts and for --hold-snapshot
    #[arg(long, value_name = "URL", requires = "broker")]
    #[serde(skip)]
    database_url: Option<String>,
    /// Database that is started
    #[arg(long, value_enum, default_value = "sqlite")]
    #[serde(skip)]
    database: DatabaseKind,
    /// Brokers that are started on it
    #[arg(long, default_value_t = 1)]
    brokers: usize,
    /// Start a Redis for the brokers too
    #[arg(long)]
    redis: bool,
    /// The broker's program; else the one beside this program
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    broker_program: Option<PathBuf>,
}

/// What is under load.
pub struct Deployment {
    pub brokers: Brokers,
    pub database: &'static str,
    pub durability: &'static str,
    target: Option<Target>,
    store: Option<Store>,
}

impl Deployment {
    pub async fn open(args: &DeploymentArgs) -> Result<Self, BenchError> {
        if args.broker.is_empty() {
            return Self::start(args).await;
        }
        let options = |address: &String| ChannelOptions {
            token: args.token.clone(),
            ca_file: args.ca_file.clone(),
            ..ChannelOptions::new(address.clone())
        };
        let brokers = Brokers::new(args.broker.iter().map(options).collect());
        let store = match &args.database_url {
            Some(url) => Some(Store::connect(&StoreOptions::new(url)).await?),
            None => None,
        };
        let database = store.as_ref().map_or("unknown", |store| name(store.backend()));
        Ok(Self { brokers, database, durability: "unknown", target: None, store })
    }

    async fn start(args: &DeploymentArgs) -> Result<Self, BenchError> {
        let plan = Plan {
            kind: args.database,
            brokers: args.brokers,
            redis: args.redis,
            program: args.broker_program.as_deref(),
        };
        let target = Target::start(plan).await?;
        Ok(Self {
            brokers: target.brokers().clone(),
            database: args.database.name(),
            durability: args.database.durability(),
            store: Some(Store::connect(&StoreOptions::new(target.database_url())).await?),
            target: Some(target),
        })
    }

    /// Registers the types of a scenario, unless they are there.
    pub async fn make_types(&self, names: &[String], context: usize) -> Result<(), BenchError> {
        let mut owner = self.brokers.owner(0)?;
        for name in names {
            let bytes = i32::try_from(context.max(CONTEXT_BYTES_MAX)).unwrap_or(i32::MAX);
            let task_type = TaskType {
                name: name.clone(),
                max_context_bytes: Some(bytes),
                ..TaskType::default()
            };
            let request = CreateTaskTypeRequest { task_type: Some(task_type) };
            match owner.create_task_type(in_time(request)).await {
                Err(status) if status.code() != Code::AlreadyExists => return Err(status.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The brokers' processes, where they are ours.
    pub fn broker_pids(&self) -> Vec<u32> {
        self.target.as_ref().map(Target::broker_pids).unwrap_or_default()
    }

    /// The database, where it is known.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// The most memory that the brokers, where they are ours, have had in use so far.
    pub fn memory_peak(&self) -> Result<Option<f64>, BenchError> {
        let Some(target) = &self.target else { return Ok(None) };
        let peaks = target.broker_pids().into_iter().map(process::memory_peak_bytes);
        Ok(Some(peaks.sum::<Result<f64, BenchError>>()?))
    }

    /// What brokers and database have cost so far.
    pub async fn usage(&self) -> Result<Usage, BenchError> {
        let mut usage = Usage::default();
        if let Some(target) = &self.target {
            let pids = target.broker_pids();
            let spent = pids.into_iter().map(process::cpu_ms).collect::<Result<Vec<_>, _>>()?;
            usage.broker_cpu_ms = Some(spent.iter().sum());
            usage.database_cpu_ms = target.database_pid().map(process::tree_cpu_ms).transpose()?;
        }
        if let Some(store) = &self.store {
            usage.work = server_work(store).await?;
        }
        Ok(usage)
    }

    /// Ends what was opened; what was started ends with it.
    pub async fn close(self) {
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    /// What the brokers wrote last, where they are ours.
    pub fn log_tails(&self) -> String {
        self.target.as_ref().map(Target::log_tails).unwrap_or_default()
    }
}

fn name(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "sqlite",
        Backend::Mysql => "mariadb",
        Backend::Postgres => "postgres",
    }
}

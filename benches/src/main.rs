//! The load generator: what a broker does per second on each database, and how long a start takes.
//!
//! ```text
//!  asyncflow-bench ──starts──▶ database (full durability) ◀── asyncflow-broker (a process too)
//!        │                                                        ▲
//!        ├── creates.rs, drain.rs, latency.rs, limits.rs, idle.rs ┤ gRPC
//!        ├── load/: scenarios, also on brokers of yours ──────────┘
//!        └── claim_shards.rs, claim_strategies.rs, schedules.rs: the store alone
//! ```
//!
//! Every figure goes as a line of JSON to `--output`, with the machine and the settings that it was
//! made with, and as a table in Markdown to stdout. `limits.rs` measures in the same run what the
//! transport and the database alone could do, so that a figure can be read as a share of that.
//! `asyncflow-bench load` (`load/`) measures one scenario with settings of yours, and
//! `asyncflow-bench shards` (`shards/`) at millions of rows. `asyncflow-bench plot` draws what
//! `benches/load.sh` has measured.

mod brokers;
mod claim_shards;
mod claim_strategies;
mod clock;
mod creates;
mod drain;
mod error;
mod idle;
mod latencies;
mod latency;
mod limits;
mod load;
mod machine;
mod postgres_storage;
mod process;
mod program;
mod record;
mod schedules;
mod shards;
mod span;
mod svg;
mod target;
mod worker;

use clap::{Parser, Subcommand, ValueEnum};
use error::BenchError;
use record::Records;
use std::{path::PathBuf, process::ExitCode, time::Duration};
use target::{Plan, Target};

/// Measures brokers on SQLite, MariaDB and PostgreSQL with full durability.
#[derive(Parser)]
#[command(name = "asyncflow-bench", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Measurement>,
    /// Databases to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sqlite,mariadb,postgres")]
    databases: Vec<DatabaseKind>,
    /// Only these measurements; else all of them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    only: Vec<Part>,
    /// How long each rate is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Starts of handlers that are timed, at least 10.
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// The broker; else the one beside this program.
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// Where lines of JSON are added.
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.jsonl")]
    output: PathBuf,
}

/// What is measured, or done with figures, instead.
#[derive(Subcommand)]
enum Measurement {
    Load(Box<load::LoadArgs>),
    Plot(load::plot::PlotArgs),
    Shards(shards::ShardsArgs),
    PostgresStorage(postgres_storage::StorageArgs),
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseKind {
    Sqlite,
    Mariadb,
    Postgres,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A broker that nobody calls, and one that is called: start latency, rates, limits.
    Broker,
    /// Claims over 1, 3 and 10 active shards.
    ClaimShards,
    /// Ways to claim, by several claimers.
    ClaimStrategies,
    /// 10,000 schedules that are due at once.
    Schedules,
}

impl DatabaseKind {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgres",
        }
    }

    fn durability(self) -> &'static str {
        match self {
            Self::Sqlite => "journal_mode=WAL synchronous=FULL",
            Self::Mariadb => "innodb_flush_log_at_trx_commit=1",
            Self::Postgres => "fsync=on synchronous_commit=on",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let measured = match &args.command {
        None => measure_all(&args).await.map(|table| println!("{table}")),
        Some(Measurement::Load(args)) => load::measure(args).await,
        Some(Measurement::Plot(args)) => load::plot::draw(args),
        Some(Measurement::Shards(args)) => shards::measure_all(args).await,
        Some(Measurement::PostgresStorage(args)) => {
            postgres_storage::measure(args).await.map(|table| println!("{table}"))
        }
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("asyncflow-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(args: &Args) -> Result<String, BenchError> {
    let mut records = Records::create(&args.output)?;
    for &kind in &args.databases {
        records.begin(kind.name(), kind.durability());
        measure(kind, args, &mut records).await?;
    }
    Ok(records.table())
}

/// One database, in an order in which no measurement stands in the way of the next: idle before
/// load, latency on a type of its own.
async fn measure(kind: DatabaseKind, args: &Args, records: &mut Records) -> Result<(), BenchError> {
    let span = Duration::from_secs(args.seconds.clamp(1, 60));
    let target = Target::start(Plan::one_broker(kind, args.broker.as_deref())).await?;
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    if wanted(Part::Broker) {
        idle::measure(&target, span, records).await?;
        latency::measure(&target, args.samples.max(10), records).await?;
        creates::measure(&target, span, records).await?;
        drain::measure(&target, span * 2, records).await?;
        limits::measure(&target, span, records).await?;
    }
    if wanted(Part::ClaimShards) {
        claim_shards::measure(&target, records).await?;
    }
    if wanted(Part::ClaimStrategies) {
        claim_strategies::measure(&target, records).await?;
    }
    if wanted(Part::Schedules) {
        schedules::measure(&target, records).await?;
    }
    Ok(())
}

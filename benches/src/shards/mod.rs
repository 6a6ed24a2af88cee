//! At size: millions of tasks of one type, and the same load at every million, while shards are
//! rolled and dropped under it.
//!
//! ```text
//!           ballast.rs: rows as they stand after their life, fast          registry.rs: when was
//!                 │ stops for every window                                 a roll, a drop?
//!   100 k ─▶ 1 M ─▶ 2 M ─ ─ ─▶ 12 M ─▶ reads ─▶ drop of the oldest shards        │
//!     ╵        ╵      ╵           ╵                                              ▼
//!   windows: only stream.rs runs, create / claim / complete at a fixed rate ─▶ figures
//! ```
//!
//! The stream never stops, so that the longest stall around a roll or a drop is known too.

mod ballast;
mod burst;
mod disk;
mod drop;
mod figures;
mod marks;
mod plot;
mod reads;
mod registry;
mod report;
mod rows;
mod run;
mod sample;
mod stream;

use crate::{DatabaseKind, error::BenchError, record::Records};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// Measures shards at size: rolls, drops and the latency over the number of rows.
#[derive(Args)]
pub struct ShardsArgs {
    /// Databases to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "mariadb,postgres,sqlite")]
    databases: Vec<DatabaseKind>,
    /// Rows in the end; else 12,000,000 on MariaDB and 3,000,000 on the others.
    #[arg(long)]
    rows: Option<u64>,
    /// Rows at which a shard is closed, at least 1,000; else 5,000,000 and 1,000,000.
    #[arg(long)]
    shard_max_rows: Option<u64>,
    /// Rows between two windows; else a third of the rows, at most 1,000,000.
    #[arg(long)]
    step: Option<u64>,
    /// Creates, and claims, per second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long the stream is measured alone.
    #[arg(long, default_value_t = 10)]
    window_seconds: u64,
    /// Between the end of the ballast and a window, for what the database still has to write back.
    #[arg(long, default_value_t = 5)]
    settle_seconds: u64,
    /// For all databases together, shared out by rows; where it is over, no more rows are written.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Where lines of JSON are added.
    #[arg(long, value_name = "FILE", default_value = "target/bench/shards.jsonl")]
    output: PathBuf,
    /// Where the plot is written.
    #[arg(long, value_name = "FILE", default_value = "target/bench/shards.svg")]
    plot: PathBuf,
}

/// What is done on one database.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: DatabaseKind,
    pub rows: u64,
    pub shard_max_rows: u64,
    pub step: u64,
    pub rate: u32,
    pub window: Duration,
    pub settle: Duration,
    pub time_max: Duration,
}

impl ShardsArgs {
    fn plans(&self) -> Vec<Plan> {
        let mut plans: Vec<_> = self.databases.iter().map(|&kind| self.plan(kind)).collect();
        let total: u64 = plans.iter().map(|plan| plan.rows).sum();
        for plan in &mut plans {
            let share = plan.rows as f64 / total.max(1) as f64;
            plan.time_max = Duration::from_secs(self.minutes * 60).mul_f64(share);
        }
        plans
    }

    fn plan(&self, kind: DatabaseKind) -> Plan {
        let (rows, shard_max_rows) = match kind {
            DatabaseKind::Mariadb => (12_000_000, 5_000_000),
            DatabaseKind::Postgres | DatabaseKind::Sqlite => (3_000_000, 1_000_000),
        };
        let rows = self.rows.unwrap_or(rows);
        Plan {
            kind,
            rows,
            shard_max_rows: self.shard_max_rows.unwrap_or(shard_max_rows),
            step: self.step.unwrap_or((rows / 3).min(1_000_000)).max(1),
            rate: self.rate,
            window: Duration::from_secs(self.window_seconds),
            settle: Duration::from_secs(self.settle_seconds),
            time_max: Duration::MAX,
        }
    }
}

/// Measures one database after the other. Tables and plot are there after each of them, so that one
/// that fails takes nothing from those before it.
pub async fn measure_all(args: &ShardsArgs) -> Result<(), BenchError> {
    let plans = args.plans();
    disk::require_for(&plans)?;
    let mut records = Records::create(&args.output)?;
    println!("{}", records.machine().sentence());
    let mut outcomes = Vec::new();
    for plan in &plans {
        records.begin(plan.kind.name(), plan.kind.durability());
        let figures = run::run(plan).await?;
        report::record(&figures, &mut records)?;
        println!("\n{}", report::tables(&figures));
        outcomes.push(figures);
        plot::write(&outcomes, &args.plot)?;
    }
    Ok(())
}

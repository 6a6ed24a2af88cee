//! Load on a real deployment over gRPC, scenario by scenario: `asyncflow-bench load SCENARIO`.
//!
//! ```text
//!   create, batch, stream ─┐  closed_loop.rs: as much as there can be
//!   start, mixed, overload ┤  open_loop.rs: on a schedule, latencies from when a call was due
//!   drain, types, workflow ┤  backlog.rs, then fleet.rs (workers of the SDK) or bare calls
//!   workers ───────────────┘  parked.rs
//!            │ tally.rs: what was answered in the span     usage.rs: what it has cost
//!            ▼
//!         report.rs: a line of JSON for each measurement ──▶ plot.rs: bars
//! ```
//!
//! `deployment.rs` says on what: brokers that run somewhere, or some that are started for it.

pub mod backlog;
pub mod closed_loop;
pub mod create;
mod deployment;
pub mod drain;
mod fleet;
mod mixed;
pub mod open_loop;
mod overload;
mod parked;
pub mod plot;
mod progress;
mod report;
pub mod scenario;
pub mod shape;
mod start;
mod stream;
pub mod tally;
mod usage;
mod workflow;

use crate::error::BenchError;
use clap::{Args, Subcommand};
use deployment::Deployment;
use report::Report;
use scenario::Settings;
use serde::Serialize;

/// Puts load on brokers, yours or some that are started for it; a line of JSON per measurement.
#[derive(Args)]
pub struct LoadArgs {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand, Serialize)]
#[serde(untagged)]
enum Scenario {
    Create(create::CreateArgs),
    Batch(create::BatchArgs),
    Stream(stream::StreamArgs),
    Drain(drain::DrainArgs),
    Types(drain::TypesArgs),
    Start(start::StartArgs),
    Mixed(mixed::MixedArgs),
    Overload(overload::OverloadArgs),
    Workers(parked::WorkersArgs),
    Workflow(workflow::WorkflowArgs),
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Batch(_) => "batch",
            Self::Stream(_) => "stream",
            Self::Drain(_) => "drain",
            Self::Types(_) => "types",
            Self::Start(_) => "start",
            Self::Mixed(_) => "mixed",
            Self::Overload(_) => "overload",
            Self::Workers(_) => "workers",
            Self::Workflow(_) => "workflow",
        }
    }

    fn settings(&self) -> &Settings {
        match self {
            Self::Create(args) => args.settings(),
            Self::Batch(args) => args.settings(),
            Self::Stream(args) => args.settings(),
            Self::Drain(args) => args.settings(),
            Self::Types(args) => args.settings(),
            Self::Start(args) => args.settings(),
            Self::Mixed(args) => args.settings(),
            Self::Overload(args) => args.settings(),
            Self::Workers(args) => args.settings(),
            Self::Workflow(args) => args.settings(),
        }
    }

    async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        match self {
            Self::Create(args) => args.run(on, report).await,
            Self::Batch(args) => args.run(on, report).await,
            Self::Stream(args) => args.run(on, report).await,
            Self::Drain(args) => args.run(on, report).await,
            Self::Types(args) => args.run(on, report).await,
            Self::Start(args) => args.run(on, report).await,
            Self::Mixed(args) => args.run(on, report).await,
            Self::Overload(args) => args.run(on, report).await,
            Self::Workers(args) => args.run(on, report).await,
            Self::Workflow(args) => args.run(on, report).await,
        }
    }
}

/// Runs one scenario. An error when one of its calls failed, after all lines are written.
pub async fn measure(args: &LoadArgs) -> Result<(), BenchError> {
    let scenario = &args.scenario;
    let Settings { deployment, outcome, .. } = scenario.settings();
    let on = Deployment::open(deployment).await?;
    let mut report = Report::begin(scenario.name(), scenario, &on, outcome.output.as_deref())?;
    if let Err(error) = scenario.run(&on, &mut report).await {
        // A failed call has its reason in the log of the broker that was called.
        return Err(BenchError::Other(format!("{error}\n{}", on.log_tails())));
    }
    on.close().await;
    report.end(outcome.errors_allowed)
}

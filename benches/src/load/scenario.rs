//! The settings that all scenarios share.

use super::{deployment::DeploymentArgs, shape::Shape};
use crate::span::Span;
use clap::Args;
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// Flags of every scenario.
#[derive(Args, Clone, Debug, Serialize)]
pub struct Settings {
    #[command(flatten)]
    #[serde(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    #[serde(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub deployment: DeploymentArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub outcome: OutcomeArgs,
}

/// How long is measured.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct TimeArgs {
    /// How long is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Load before that, which is not measured
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub warm_up_seconds: u64,
}

/// What becomes of lines and errors.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outcome")]
pub struct OutcomeArgs {
    /// Where the lines are added too
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit with 0 also when calls failed
    #[arg(long)]
    pub errors_allowed: bool,
}

impl TimeArgs {
    /// What counts, from the beginning of the load.
    pub fn span(self) -> Span {
        let from = Duration::from_secs(self.warm_up_seconds);
        Span { from, to: from + Duration::from_secs(self.seconds) }
    }
}

/// A rate.
pub fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("it must be above 0".to_owned()) }
}

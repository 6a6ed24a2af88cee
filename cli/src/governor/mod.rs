//! `asyncflow governor …`: a question to one that runs. One file per verb.

pub mod asked;
mod leader;
mod resign;
mod run_duty;
mod status;

use crate::error::Outcome;
use asked::Asked;

/// What can be asked.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show how a governor is and what its duties last did
    Status(Asked<status::Args>),
    /// Show which governor leads
    Leader(Asked<leader::Args>),
    /// Run a duty now; `governor status` lists them
    RunDuty(Asked<run_duty::Args>),
    /// Make a governor give up the lead; another one takes it
    Resign(Asked<resign::Args>),
}

/// Asks it.
pub async fn ask(verb: Verb) -> Outcome {
    match verb {
        Verb::Status(asked) => asked.execute().await,
        Verb::Leader(asked) => asked.execute().await,
        Verb::RunDuty(asked) => asked.execute().await,
        Verb::Resign(asked) => asked.execute().await,
    }
}

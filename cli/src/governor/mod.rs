//! `asyncflow governor …`: a question to one that runs. One file per verb.

mod leader;
mod resign;
mod run_duty;
mod shards;
mod status;

use crate::{connection::GovernorAddress, error::Outcome, output::OutputArgs};

/// Flags of every question to a governor.
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    #[command(flatten)]
    address: GovernorAddress,
    #[command(flatten)]
    output: OutputArgs,
}

/// What can be asked.
#[derive(Debug, clap::Subcommand)]
pub enum Question {
    Status(status::Args),
    Leader(leader::Args),
    Shards(shards::Args),
    RunDuty(run_duty::Args),
    Resign(resign::Args),
}

/// Asks it.
pub async fn ask(question: Question) -> Outcome {
    match question {
        Question::Status(args) => status::execute(args).await,
        Question::Leader(args) => leader::execute(args).await,
        Question::Shards(args) => shards::execute(args).await,
        Question::RunDuty(args) => run_duty::execute(args).await,
        Question::Resign(args) => resign::execute(args).await,
    }
}

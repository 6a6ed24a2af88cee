//! `asyncflow operation …`: one file per verb.

mod cancel;
pub mod follow;
mod list;
mod show;
mod wait;

use crate::{
    connection::{Broker, BrokerAddress},
    error::Outcome,
    output::OutputArgs,
};

/// Look at, wait for and stop operations: what was begun for many tasks at once
///
/// `asyncflow task cancel|retry|delete|purge` with a filter begin them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    Wait(wait::Args),
    Cancel(cancel::Args),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let broker: Broker = args.broker.open()?;
    let output = args.output.open();
    match args.verb {
        Verb::List(args) => list::execute(args, &broker, &output).await,
        Verb::Show(args) => show::execute(args, &broker, &output).await,
        Verb::Wait(args) => wait::execute(args, &broker, &output).await,
        Verb::Cancel(args) => cancel::execute(args, &broker, &output).await,
    }
}

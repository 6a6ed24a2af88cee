//! `asyncflow gpu …`: the GPUs of all hosts, and what is wanted of them.

mod adopt;
mod change;
mod cordon;
mod evict;
mod ignore;
mod list;
mod uncordon;

use crate::{connection::BrokerAddress, error::Outcome, output::OutputArgs};

/// Look at the GPUs of all hosts, and say what may be done with them
///
/// A GPU is named by HOST:INDEX, e.g. `anna:0`, or by its UUID or the beginning of that. What
/// changes something needs an administrator.
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
    Cordon(cordon::Args),
    Uncordon(uncordon::Args),
    Evict(evict::Args),
    Ignore(ignore::Args),
    Adopt(adopt::Args),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let (broker, output) = (args.broker.open()?, args.output.open());
    match args.verb {
        Verb::List(args) => list::execute(args, &broker, &output).await,
        Verb::Cordon(args) => cordon::execute(args, &broker, &output).await,
        Verb::Uncordon(args) => uncordon::execute(args, &broker, &output).await,
        Verb::Evict(args) => evict::execute(args, &broker, &output).await,
        Verb::Ignore(args) => ignore::execute(args, &broker, &output).await,
        Verb::Adopt(args) => adopt::execute(args, &broker, &output).await,
    }
}

//! `asyncflow workflow …`: one file per verb.

mod cancel;
mod create;
pub mod file;
mod items;
mod list;
mod retry;
mod schema;
mod show;
mod signal;
mod wait;
mod watch;

use crate::{
    connection::BrokerAddress, error::Outcome, output::OutputArgs, resolve::Lookup,
    session::Session,
};

/// Create, look at, cancel and retry workflows: tasks that wait for each other
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    lookup: Lookup,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Create(create::Args),
    Show(show::Args),
    List(list::Args),
    Items(items::Args),
    Cancel(cancel::Args),
    Retry(retry::Args),
    Signal(signal::Args),
    Schema(schema::Args),
    Wait(wait::Args),
    Watch(watch::Args),
}

/// A broker answered, and left out what it was asked for.
const NONE_IN_ANSWER: &str = "the broker's answer holds no workflow";

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let output = args.output.open();
    if let Verb::Schema(_) = args.verb {
        return schema::execute(&output);
    }
    let session = Session { broker: args.broker.open()?, output, lookup: args.lookup };
    match args.verb {
        Verb::Create(args) => create::execute(args, &session).await,
        Verb::Show(args) => show::execute(args, &session).await,
        Verb::List(args) => list::execute(args, &session).await,
        Verb::Items(args) => items::execute(args, &session).await,
        Verb::Cancel(args) => cancel::execute(args, &session).await,
        Verb::Retry(args) => retry::execute(args, &session).await,
        Verb::Signal(args) => signal::execute(args, &session).await,
        Verb::Schema(_) => schema::execute(&session.output),
        Verb::Wait(args) => wait::execute(args, &session).await,
        Verb::Watch(args) => watch::execute(args, &session).await,
    }
}

//! `asyncflow task …`: one file per verb.

mod attempts;
mod bulk;
mod cancel;
mod code;
mod count;
mod create;
mod delete;
pub mod each;
pub mod file;
mod get;
mod hand_over;
mod list;
mod logs;
mod pause;
mod purge;
pub mod resources;
mod resume;
mod retry;
mod signal;
pub mod spec;
mod update;
mod wait;
mod watch;

use crate::{
    connection::BrokerAddress, error::Outcome, output::OutputArgs, resolve::Lookup,
    session::Session,
};

/// Create, look at and change tasks
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
    Create(Box<create::Args>),
    Get(get::Args),
    List(list::Args),
    Count(count::Args),
    Update(update::Args),
    Cancel(cancel::Args),
    HandOver(hand_over::Args),
    Retry(retry::Args),
    Signal(signal::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Delete(delete::Args),
    Purge(purge::Args),
    Wait(wait::Args),
    Watch(watch::Args),
    Logs(logs::Args),
    Attempts(attempts::Args),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let session =
        Session { broker: args.broker.open()?, output: args.output.open(), lookup: args.lookup };
    match args.verb {
        Verb::Create(args) => create::execute(*args, &session).await,
        Verb::Get(args) => get::execute(args, &session).await,
        Verb::List(args) => list::execute(args, &session).await,
        Verb::Count(args) => count::execute(args, &session).await,
        Verb::Update(args) => update::execute(args, &session).await,
        Verb::Cancel(args) => cancel::execute(args, &session).await,
        Verb::HandOver(args) => hand_over::execute(args, &session).await,
        Verb::Retry(args) => retry::execute(args, &session).await,
        Verb::Signal(args) => signal::execute(args, &session).await,
        Verb::Pause(args) => pause::execute(args, &session).await,
        Verb::Resume(args) => resume::execute(args, &session).await,
        Verb::Delete(args) => delete::execute(args, &session).await,
        Verb::Purge(args) => purge::execute(args, &session).await,
        Verb::Wait(args) => wait::execute(args, &session).await,
        Verb::Watch(args) => watch::execute(args, &session).await,
        Verb::Logs(args) => logs::execute(args, &session).await,
        Verb::Attempts(args) => attempts::execute(args, &session).await,
    }
}

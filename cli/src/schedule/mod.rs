//! `asyncflow schedule …`: one file per verb.

mod backfill;
mod create;
mod delete;
mod file;
mod list;
mod next;
mod origin;
mod pause;
mod resume;
mod run;
mod show;
mod times;
mod update;

use crate::{
    connection::{Broker, BrokerAddress},
    error::Outcome,
    output::OutputArgs,
};

/// Create, look at, pause, run and delete schedules: tasks and workflows at given times
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
    Create(Box<create::Args>),
    List(list::Args),
    Show(show::Args),
    Next(next::Args),
    Update(Box<update::Args>),
    Pause(pause::Args),
    Resume(resume::Args),
    Run(run::Args),
    Backfill(backfill::Args),
    Delete(delete::Args),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let broker: Broker = args.broker.open()?;
    let output = args.output.open();
    match args.verb {
        Verb::Create(args) => create::execute(*args, &broker, &output).await,
        Verb::List(args) => list::execute(args, &broker, &output).await,
        Verb::Show(args) => show::execute(args, &broker, &output).await,
        Verb::Next(args) => next::execute(args, &broker, &output).await,
        Verb::Update(args) => update::execute(*args, &broker, &output).await,
        Verb::Pause(args) => pause::execute(args, &broker, &output).await,
        Verb::Resume(args) => resume::execute(args, &broker, &output).await,
        Verb::Run(args) => run::execute(args, &broker, &output).await,
        Verb::Backfill(args) => backfill::execute(args, &broker, &output).await,
        Verb::Delete(args) => delete::execute(args, &broker).await,
    }
}

//! `asyncflow type …`: one file per verb.

mod create;
mod get;
mod list;
mod set;
mod settings;

use crate::{
    connection::{Broker, BrokerAddress},
    error::Outcome,
    output::OutputArgs,
    view::task_type::TaskTypeView,
};

/// Look at and change task types
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
    Get(get::Args),
    Create(create::Args),
    Set(set::Args),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    let broker: Broker = args.broker.open()?;
    let output = args.output.open();
    match args.verb {
        Verb::List(args) => list::execute(args, &broker, &output).await,
        Verb::Get(args) => get::execute(args, &broker, &output).await,
        Verb::Create(args) => create::execute(args, &broker, &output).await,
        Verb::Set(args) => set::execute(args, &broker, &output).await,
    }
}

/// What the parts that were not given are set to, as speculation is set as a whole.
fn tell_speculation(task_type: &TaskTypeView, is_part_given: bool) {
    if let Some(speculation) = task_type.speculation().filter(|_| is_part_given) {
        let what = "speculation is set as a whole, what was not given to its default";
        crate::remark(&format!("{what}: {speculation}"));
    }
}

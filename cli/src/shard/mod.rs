//! `asyncflow shard …`: the tables behind the tasks, as a governor sees them. One file per verb.

mod archive;
mod drop;
mod list;
mod name;
mod roll;

use crate::{error::Outcome, governor::asked::Asked};

/// Look at the tables of task types, close, archive and drop them
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the shards with their state, rows, size and age
    List(Asked<list::Args>),
    /// Close a type's open shard now and open the next one
    Roll(Asked<roll::Args>),
    /// Drop a shard whose tasks are all terminal, whatever the type's retention is
    Drop(Asked<drop::Args>),
    /// Write a shard whose tasks are all terminal to the archive
    Archive(Asked<archive::Args>),
}

/// Runs one verb.
pub async fn execute(args: Args) -> Outcome {
    match args.verb {
        Verb::List(asked) => asked.execute().await,
        Verb::Roll(asked) => asked.execute().await,
        Verb::Drop(asked) => asked.execute().await,
        Verb::Archive(asked) => asked.execute().await,
    }
}

//! `asyncflow worker`: the program of a host, or a look at all workers.

mod list;

use crate::client;
use std::process::ExitCode;

/// Look at the workers
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
}

/// Runs one verb.
pub fn execute(args: Args) -> ExitCode {
    match args.verb {
        Verb::List(args) => client(list::execute(args)),
    }
}

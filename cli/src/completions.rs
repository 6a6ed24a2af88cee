//! `asyncflow completions`

use crate::{
    Cli,
    error::{Outcome, exit},
};
use clap::CommandFactory;
use std::io::Write;

/// Print a script that completes this command in a shell
///
/// For bash: `asyncflow completions bash > ~/.local/share/bash-completion/completions/asyncflow`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn execute(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "asyncflow", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(exit::OK)
}

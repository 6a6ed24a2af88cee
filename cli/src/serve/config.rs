//! `asyncflow config`

use crate::error::{CliError, Outcome, exit};
use asyncflow_service::config::{ConfigErrors, show};
use serde::Serialize;
use std::path::PathBuf;

/// Check or show the settings of a program
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say everything that is wrong with the settings; exit code 2 if anything is
    Check(Layers),
    /// Print the settings in force, from all layers, with secrets masked
    Show(Layers),
    /// Print the built-in defaults with their comments, as a file to begin with
    Defaults(Program),
}

/// Whose settings.
#[derive(Debug, clap::Args)]
struct Program {
    /// The program
    #[arg(long, value_enum)]
    program: ProgramName,
}

#[derive(Debug, clap::Args)]
struct Layers {
    #[command(flatten)]
    program: Program,
    /// A TOML file over the built-in defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, stronger than file and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ProgramName {
    Broker,
    Governor,
    Worker,
}

pub fn execute(args: Args) -> Outcome {
    match args.verb {
        Verb::Check(layers) => {
            layers.render()?;
            println!("the settings are well");
        }
        Verb::Show(layers) => print!("{}", layers.render()?),
        Verb::Defaults(program) => print!("{}", program.program.defaults()),
    }
    Ok(exit::OK)
}

impl ProgramName {
    fn defaults(self) -> &'static str {
        match self {
            Self::Broker => asyncflow_broker::config::DEFAULTS,
            Self::Governor => asyncflow_governor::DEFAULT_CONFIG,
            Self::Worker => asyncflow_worker::config::DEFAULTS,
        }
    }
}

impl Layers {
    fn render(&self) -> Result<String, CliError> {
        match self.program.program {
            ProgramName::Broker => {
                let args: asyncflow_broker::Args = self.program_args()?;
                render(asyncflow_broker::config::load(&args.sources()))
            }
            ProgramName::Governor => {
                let args: asyncflow_governor::Args = self.program_args()?;
                render(args.load())
            }
            ProgramName::Worker => {
                let args: asyncflow_worker::Args = self.program_args()?;
                render(asyncflow_worker::config::load(&args.sources()))
            }
        }
    }

    /// Reads the flags as the program itself would, its own environment variables included.
    fn program_args<A: clap::Args>(&self) -> Result<A, CliError> {
        let mut words = vec!["config".to_owned()];
        if let Some(file) = &self.config {
            words.push(format!("--config={}", file.display()));
        }
        words.extend(self.settings.iter().map(|setting| format!("--set={setting}")));
        let matches = A::augment_args(clap::Command::new("config")).try_get_matches_from(words);
        let args = matches.and_then(|matches| A::from_arg_matches(&matches));
        args.map_err(|error| CliError::Usage(error.to_string()))
    }
}

fn render<C: Serialize>(loaded: Result<C, ConfigErrors>) -> Result<String, CliError> {
    let config = loaded.map_err(|errors| CliError::Usage(errors.to_string()))?;
    show(&config).map_err(|error| CliError::Failed(format!("cannot be shown as TOML: {error}")))
}

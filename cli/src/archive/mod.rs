//! `asyncflow archive …`: what dropped shards left behind, read straight from where it lies. One
//! file per verb.

mod cat;
mod ls;

use crate::error::{CliError, Outcome};
use asyncflow_archive::{Archive, ArchiveError, Options};

/// Look into the archive of tasks whose tables were dropped
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(ls::Args),
    Cat(cat::Args),
}

/// Where the archive is. Keys for S3 come from `AWS_ACCESS_KEY_ID` and its like.
#[derive(Debug, clap::Args)]
struct Place {
    /// As the governor's archive.url: file:///directory or s3://bucket/prefix
    #[arg(long, global = true, env = "ASYNCFLOW_ARCHIVE_URL")]
    url: Option<String>,
    /// Of an S3-compatible store, e.g. https://minio:9000
    #[arg(long, global = true, env = "ASYNCFLOW_ARCHIVE_ENDPOINT")]
    endpoint: Option<String>,
    /// Allow an endpoint without TLS
    #[arg(long, global = true)]
    allow_http: bool,
}

impl Place {
    fn open(self) -> Result<Archive, CliError> {
        let url = self.url.ok_or_else(|| {
            let text = "where is the archive? give --url or ASYNCFLOW_ARCHIVE_URL; the \
                        governor's setting archive.url has it";
            CliError::Usage(text.to_owned())
        })?;
        let endpoint = self.endpoint.unwrap_or_default();
        let options = Options { url, endpoint, allow_http: self.allow_http, ..Options::default() };
        Ok(Archive::open(&options)?)
    }
}

impl From<ArchiveError> for CliError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Options(_) => Self::Usage(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

pub async fn execute(args: Args) -> Outcome {
    let archive = args.place.open()?;
    match args.verb {
        Verb::Ls(args) => ls::execute(args, &archive).await,
        Verb::Cat(args) => cat::execute(args, &archive).await,
    }
}

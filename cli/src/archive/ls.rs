//! `archive ls`

use crate::{
    error::{Outcome, exit},
    output::OutputArgs,
    view::archive::ArchiveView,
};
use asyncflow_archive::Archive;

/// List the archived shards by type and number
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args, archive: &Archive) -> Outcome {
    let (mut views, mut failed) = (Vec::<ArchiveView>::new(), None);
    for manifest in archive.manifests(args.task_type.as_deref()).await? {
        match manifest {
            Ok(manifest) => views.push(manifest.into()),
            Err(error) => failed = Some(error),
        }
    }
    args.output.open().many(&views)?;
    failed.map_or(Ok(exit::OK), |error| Err(error.into()))
}

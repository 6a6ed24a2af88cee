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
    let manifests = archive.manifests(args.task_type.as_deref()).await?;
    let views: Vec<ArchiveView> = manifests.into_iter().map(Into::into).collect();
    args.output.open().many(&views)?;
    Ok(exit::OK)
}

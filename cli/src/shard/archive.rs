//! `shard archive`

use super::name::ShardName;
use crate::{
    connection::Governor, error::CliError, governor::asked::Question, output::Output,
    view::shard::ArchiveView,
};
use asyncflow_proto::v1::ArchiveShardRequest;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shard, e.g. train-2
    shard: ShardName,
}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let ShardName { task_type, number } = self.shard;
        let request = ArchiveShardRequest { task_type, number };
        let archived = governor.call(async |client| client.archive_shard(request).await).await?;
        output.one(&ArchiveView::from(archived))
    }
}

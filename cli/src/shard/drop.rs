//! `shard drop`

use super::name::ShardName;
use crate::{
    connection::Governor, error::CliError, governor::asked::Question, output::Output,
    view::shard::DropView,
};
use asyncflow_proto::v1::{DropShardRequest, DropShardResponse};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shard, e.g. train-2
    shard: ShardName,
    /// Only say what would be lost and what stands in the way
    #[arg(long)]
    dry_run: bool,
    /// Drop also tasks that the type's retention would still keep
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        if self.dry_run {
            return output.one(&DropView::from(self.drop(governor, true).await?));
        }
        if !self.yes {
            // What is in its way is for the call itself to tell.
            let DropShardResponse { retained_rows, obstacle, .. } =
                self.drop(governor, true).await?;
            if retained_rows > 0 && obstacle.is_empty() {
                return Err(CliError::Usage(format!(
                    "{retained_rows} tasks would go that their type's retention still keeps; \
                     say --yes if they may"
                )));
            }
        }
        output.one(&DropView::from(self.drop(governor, false).await?))
    }
}

impl Args {
    async fn drop(
        &self,
        governor: &mut Governor,
        validate_only: bool,
    ) -> Result<DropShardResponse, CliError> {
        let ShardName { task_type, number } = self.shard.clone();
        let request = DropShardRequest { task_type, number, validate_only };
        governor.call(async |client| client.drop_shard(request).await).await
    }
}

//! `shard roll`

use crate::{
    connection::{Governor, required},
    error::CliError,
    governor::asked::Question,
    output::Output,
    view::shard::ShardView,
};
use asyncflow_proto::v1::RollShardRequest;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task type
    #[arg(value_name = "TYPE")]
    task_type: String,
}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let request = RollShardRequest { task_type: self.task_type };
        let rolled = governor.call(async |client| client.roll_shard(request).await).await?;
        output.one(&ShardView::from(required(rolled.shard, "shard")?))
    }
}

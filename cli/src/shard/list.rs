//! `shard list`

use crate::{
    connection::Governor, error::CliError, governor::asked::Question, output::Output,
    view::shard::ShardView,
};
use asyncflow_proto::v1::ListShardsRequest;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let task_type = self.task_type.unwrap_or_default();
        let mut request = ListShardsRequest { task_type, ..ListShardsRequest::default() };
        let mut views: Vec<ShardView> = Vec::new();
        loop {
            let asked = request.clone();
            let page = governor.call(async |client| client.list_shards(asked).await).await?;
            views.extend(page.shards.into_iter().map(ShardView::from));
            if page.next_page_token.is_empty() {
                return output.many(&views);
            }
            request.page_token = page.next_page_token;
        }
    }
}

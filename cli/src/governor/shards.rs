//! `governor shards`

use super::AskArgs;
use crate::{
    error::{Outcome, exit},
    view::governor::ShardView,
};
use asyncflow_proto::v1::ListShardsRequest;

/// List the shard tables with their state and rows
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let mut governor = args.ask.address.open()?;
    let task_type = args.task_type.unwrap_or_default();
    let mut request = ListShardsRequest { task_type, ..ListShardsRequest::default() };
    let mut views: Vec<ShardView> = Vec::new();
    loop {
        let page = governor.list_shards(request.clone()).await;
        let page = page.map_err(|error| args.ask.address.explain(error))?.into_inner();
        views.extend(page.shards.into_iter().map(ShardView::from));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    args.ask.output.open().many(&views)?;
    Ok(exit::OK)
}

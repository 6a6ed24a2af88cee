//! `governor leader`

use super::AskArgs;
use crate::{
    error::{Outcome, exit},
    view::governor::LeaderView,
};
use asyncflow_proto::v1::GetLeaderRequest;

/// Show which governor leads
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ask: AskArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let mut governor = args.ask.address.open()?;
    let leader = governor.get_leader(GetLeaderRequest {}).await;
    let leader = leader.map_err(|error| args.ask.address.explain(error))?.into_inner();
    args.ask.output.open().one(&LeaderView::from(leader))?;
    Ok(exit::OK)
}

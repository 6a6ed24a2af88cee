//! `governor status`

use super::AskArgs;
use crate::{
    error::{Outcome, exit},
    view::governor::StatusView,
};
use asyncflow_proto::v1::GetStatusRequest;

/// Show how a governor is and what its duties last did
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ask: AskArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let mut governor = args.ask.address.open()?;
    let status = governor.get_status(GetStatusRequest {}).await;
    let status = status.map_err(|error| args.ask.address.explain(error))?.into_inner();
    let output = args.ask.output.open();
    let view = StatusView::from(status);
    output.one(&view)?;
    if output.is_table() {
        output.line("")?;
        output.many(view.duties())?;
    }
    Ok(exit::OK)
}

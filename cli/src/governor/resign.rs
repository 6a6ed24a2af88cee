//! `governor resign`

use super::AskArgs;
use crate::error::{Outcome, exit};
use asyncflow_proto::v1::ResignRequest;

/// Make a governor give up the lead; another one takes it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ask: AskArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let mut governor = args.ask.address.open()?;
    let resigned = governor.resign(ResignRequest {}).await;
    resigned.map_err(|error| args.ask.address.explain(error))?;
    Ok(exit::OK)
}

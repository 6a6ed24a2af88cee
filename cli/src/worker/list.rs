//! `worker list`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    fleet,
    output::OutputArgs,
    view::worker::WorkerView,
};

/// List the workers that were heard of lately, and the hosts that are closed
///
/// A worker that stays silent is LOST, and is forgotten after a while. A host that was cordoned or
/// drained is listed also when its worker has left: CORDONED (away).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let broker = args.broker.open()?;
    let views: Vec<WorkerView> = fleet::hosts(&broker).await?.into_iter().map(Into::into).collect();
    args.output.open().many(&views)?;
    Ok(exit::OK)
}

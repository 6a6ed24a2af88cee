//! `worker list`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    fleet,
    output::OutputArgs,
    view::worker::WorkerView,
};

/// List the workers that registered lately
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

//! `worker list`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
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
    let workers = broker.client.workers().await.map_err(|error| broker.explain(error))?;
    let views: Vec<WorkerView> = workers.into_iter().map(Into::into).collect();
    args.output.open().many(&views)?;
    Ok(exit::OK)
}

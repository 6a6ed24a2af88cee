//! `worker show`

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    fleet,
    output::OutputArgs,
    view::host::HostView,
};

/// Show all that is known of a worker and its host: alarms, GPUs, what runs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id, the host's name, or the beginning of one
    #[arg(value_name = "WORKER")]
    worker: String,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let broker = args.broker.open()?;
    let hosts = fleet::hosts(&broker).await?;
    let host = fleet::find(&hosts, &args.worker)?.clone();
    args.output.open().one(&HostView::from(host))?;
    Ok(exit::OK)
}

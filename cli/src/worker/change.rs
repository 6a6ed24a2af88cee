//! The same wish for several workers.

use crate::{
    connection::BrokerAddress,
    error::{Outcome, exit},
    fleet,
    output::OutputArgs,
    view::host::HostView,
};
use asyncflow_proto::v1::UpdateHostRequest;

/// Which workers, and how to ask.
#[derive(Debug, clap::Args)]
pub struct Workers {
    /// Ids of workers, names of hosts, or the beginning of one
    #[arg(value_name = "WORKER", required = true)]
    typed: Vec<String>,
    #[command(flatten)]
    broker: BrokerAddress,
    #[command(flatten)]
    output: OutputArgs,
}

/// Finds all workers first, so that a typing error changes nothing.
pub async fn each(workers: Workers, wish: UpdateHostRequest) -> Outcome {
    let broker = workers.broker.open()?;
    let hosts = fleet::hosts(&broker).await?;
    let mut ids = Vec::with_capacity(workers.typed.len());
    for typed in &workers.typed {
        ids.push(fleet::worker(fleet::find(&hosts, typed)?)?.worker_id.clone());
    }
    let mut views = Vec::with_capacity(ids.len());
    for worker_id in ids {
        let request = UpdateHostRequest { worker_id, ..wish.clone() };
        let host = broker.client.update_host(request).await;
        let host = host.map_err(|error| broker.explain(error))?;
        views.push(HostView::from(host));
    }
    workers.output.open().many(&views)?;
    Ok(exit::OK)
}
